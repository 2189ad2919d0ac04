"""Finding and decoding the stored pictures of an image. Start at :class:`.reader.PictureReader`."""
