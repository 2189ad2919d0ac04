"""Bytes and rows, never pixels: object stores, the keys in them, shard manifests and tables."""
