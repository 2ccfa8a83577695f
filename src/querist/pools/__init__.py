"""Pools: the samples of an experiment, addressed by integer index."""

from querist.pools.combined import CombinedPool
from querist.pools.dataset_pool import DatasetPool
from querist.pools.digits import digits
from querist.pools.labeled import LabeledSet
from querist.pools.npy import npy
from querist.pools.scripts import Scripts
from querist.pools.tensor_pool import TensorPool
from querist.pools.texts import TextPool, texts

__all__ = [
    "CombinedPool",
    "DatasetPool",
    "LabeledSet",
    "Scripts",
    "TensorPool",
    "TextPool",
    "digits",
    "npy",
    "texts",
]
