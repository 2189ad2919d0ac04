"""Enlarging: super-resolution networks in exact tiles, and the classical filters."""
