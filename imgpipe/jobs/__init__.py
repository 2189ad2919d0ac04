"""Jobs: single pictures with actions and settings of their own, for the worker, the server and scripts."""
