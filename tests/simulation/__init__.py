"""The whole system under seeded faults, in virtual time: see docs/reliability.md."""
