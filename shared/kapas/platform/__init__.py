"""What a function runs on: settings, logs, traces, PostgreSQL, and the ports to Google Cloud with their adapters."""
