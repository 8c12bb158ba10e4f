"""Every event this system publishes, a module for each capability's; `registry` has them all by type.

A function imports what it publishes: the models of all would cost each of them a tenth of its cold start. A breaking change
is a new class with the next version in its type. The JSON Schema of each is committed under `docs/api/events/`; a test
compares them, and holds every example to its schema.
"""
