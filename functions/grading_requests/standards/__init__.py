"""Grades by published standards: class tables, the platform's policy, and the reading of classing records."""
