"""Enlargements that the thresholds were not set on: clean, damaged, and of sources that are hard to judge."""
