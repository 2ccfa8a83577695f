"""Label strategies: where labels come from."""

from querist.strategies.label.command import LabelCommand
from querist.strategies.label.oracle import Oracle
from querist.strategies.label.python_callable import PythonCallable

__all__ = ["LabelCommand", "Oracle", "PythonCallable"]
