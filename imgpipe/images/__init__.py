"""Decode, encode, metadata, colour, resize: all code that knows file formats."""
