"""Measuring a photograph of lint on the reference card: detection, photometry and the model."""
