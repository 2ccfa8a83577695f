"""The versions of one registered model: what they learned from, and which one is champion."""
