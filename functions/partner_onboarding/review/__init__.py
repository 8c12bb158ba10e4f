"""What operations sees of a partner, the risk, and what operations decides."""
