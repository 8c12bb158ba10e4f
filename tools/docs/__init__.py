"""The documents that are generated from the code: `docs/api`. `python -m tools.docs` writes them."""
