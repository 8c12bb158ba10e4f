"""What the steps of a delivery run, beside the other Makefile targets: `cloudbuild.yaml` and `cloudbuild-release.yaml`."""
