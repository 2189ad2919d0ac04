"""One module per file format: header, metadata and pixels, read and written."""
