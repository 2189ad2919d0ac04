"""Fixing what a picture went through before it came here: JPEG's blocks, coarse levels, noise."""
