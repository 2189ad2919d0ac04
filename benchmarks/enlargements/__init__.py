"""Enlargements that are good and damaged, and sources that are hard to enlarge; see ``benchmarks/quality.py``."""
