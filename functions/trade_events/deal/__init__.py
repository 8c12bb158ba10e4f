"""A deal: a contract with terms, and tracks that run beside each other, each a fold of the trade's own events.

Pure: no HTTP, no SQL, no clock. `decide` turns a step into events, `fold` and `apply` turn events into a `Trade`,
`agenda` says what is open, and `overdue` what happens to what was left open for too long.
"""
