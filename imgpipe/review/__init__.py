"""The manual-fix queue: which images wait for a person, and what that person decided."""
