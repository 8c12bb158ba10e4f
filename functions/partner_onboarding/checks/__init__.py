"""The checks of a submission by outside providers. A check is evidence and decides nothing."""
