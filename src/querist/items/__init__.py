"""Data that grow: items with names, their subsets, filters over them, and where they come from."""
