"""Prefect tasks: each wraps one pure step of `querist.phases` or `querist.retraining`."""

from querist.tasks.compare import compare, compare_version
from querist.tasks.conclude import conclude
from querist.tasks.evaluate import evaluate
from querist.tasks.label import label
from querist.tasks.metrology import metrology
from querist.tasks.new_version import new_version
from querist.tasks.promote import promote
from querist.tasks.pull import pull
from querist.tasks.query import query
from querist.tasks.split import split
from querist.tasks.train import train
from querist.tasks.train_version import train_version

__all__ = [
    "compare",
    "compare_version",
    "conclude",
    "evaluate",
    "label",
    "metrology",
    "new_version",
    "promote",
    "pull",
    "query",
    "split",
    "train",
    "train_version",
]
