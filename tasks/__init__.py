"""Prefect tasks: each wraps one pure step of `querist.phases`."""

from querist.tasks.conclude import conclude
from querist.tasks.label import label
from querist.tasks.metrology import metrology
from querist.tasks.query import query
from querist.tasks.train import train

__all__ = ["conclude", "label", "metrology", "query", "train"]
