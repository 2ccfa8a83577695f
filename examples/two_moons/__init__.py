"""The two-moons experiment."""
