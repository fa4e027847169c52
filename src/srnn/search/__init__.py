"""Searching for settings: a study of many runs."""
