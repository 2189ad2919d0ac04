"""Fourteen drawings with their exact mattes, made by ``python -m training.samples.files``."""
