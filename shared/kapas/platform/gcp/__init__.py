"""Adapters to Google Cloud: the only modules that import `google.*` or speak Google's REST interfaces."""
