"""Experiments as a user would write them."""
