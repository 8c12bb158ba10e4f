"""`make demo`: one day of the platform, over HTTP, as it happens. `python -m tools.demo` plays it."""
