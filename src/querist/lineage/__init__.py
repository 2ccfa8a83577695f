"""The versions of one registered model: what they learned from, and which one is champion."""

from querist.lineage.lineage import (
    Lineage,
    close_lineage,
    create_or_open,
    is_lineage,
    lineage_folder,
    list_lineages,
    open_lineage,
    version_folder,
)
from querist.lineage.reference import LineageReference

__all__ = [
    "Lineage",
    "LineageReference",
    "close_lineage",
    "create_or_open",
    "is_lineage",
    "lineage_folder",
    "list_lineages",
    "open_lineage",
    "version_folder",
]
