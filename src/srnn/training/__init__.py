"""A run, from a task to its metrics.json."""
