"""Geometry of embeddings that several strategies choose by, without anything of size n x n."""
