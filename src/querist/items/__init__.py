"""Data that grow: items with names, their subsets, filters over them, and where they come from."""

from querist.items.files import FileItems
from querist.items.labeled_run import LabeledRun
from querist.items.pool import PoolItems

__all__ = ["FileItems", "LabeledRun", "PoolItems"]
