"""The steps of an iteration as plain functions of an open run. Prefect tasks wrap them.

    train -> metrology -> query -> label -> commit

Each may be called again after a crash or a retry: what is recorded already is not done twice.
"""

from querist.phases.commit import commit_iteration
from querist.phases.conclude import conclude
from querist.phases.decide import decide
from querist.phases.label import label
from querist.phases.metrology import metrology
from querist.phases.plan import pending_phases
from querist.phases.query import query
from querist.phases.train import train

__all__ = [
    "commit_iteration",
    "conclude",
    "decide",
    "label",
    "metrology",
    "pending_phases",
    "query",
    "train",
]
