"""Draws the sample drawings of ``imgpipe/samples`` with their exact mattes; benchmarks draw more by seed."""
