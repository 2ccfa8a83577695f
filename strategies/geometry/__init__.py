"""Geometry of embeddings that several strategies choose by, without anything of size n x n."""

from querist.strategies.geometry.farthest_first import Picks, farthest_first

__all__ = ["Picks", "farthest_first"]
