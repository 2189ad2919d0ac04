"""Manual review: the queue of images that need a decision, and the decisions."""
