"""Decode, encode, metadata, colour, resize: everything that knows a file format."""
