"""Enlargements that are good and damaged, and sources that are hard to enlarge."""
