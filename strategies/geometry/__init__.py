"""Distances, clusters and coverage of points: what query strategies for diversity are built on."""
