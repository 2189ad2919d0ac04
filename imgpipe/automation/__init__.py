"""What happens by itself: the arrival sensor, scheduled backfills, and retries."""
