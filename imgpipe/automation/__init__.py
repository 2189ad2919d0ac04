"""Automation: the arrival sensor, scheduled backfills, and retries."""
