"""Handwritten digits with every kind of learner."""
