"""Pixel algorithms that several rooms use: resizing, alpha, filling, comparison of two pictures."""
