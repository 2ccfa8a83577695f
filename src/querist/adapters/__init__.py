"""Adapters for code that was written for another active-learning loop."""
