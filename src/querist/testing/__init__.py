"""Contract suites: what every strategy must keep, to be run on your own ones.

With pytest, one class per strategy::

    from querist.testing import QueryStrategyContract

    class TestMine(QueryStrategyContract):
        def make(self):
            return Mine(beta=2)

or without it, `check_query_strategy(Mine)`. Nothing here imports pytest.
"""

from querist.testing.gates import GateContract, check_gate
from querist.testing.items import ItemSourceContract, check_item_source
from querist.testing.label import LabelStrategyContract, check_label_strategy
from querist.testing.learners import LearnerContract, check_learner
from querist.testing.metrology import MetrologyStrategyContract, check_metrology_strategy
from querist.testing.predictors import (
    DrawnNumbers,
    DrawnSoftmax,
    FixedLabels,
    FixedNumbers,
    FixedProbabilities,
    LinearLabels,
    LinearNumbers,
    LinearSoftmax,
)
from querist.testing.query import QueryStrategyContract, check_query_strategy, query_context
from querist.testing.schedules import ScheduleContract, check_schedule
from querist.testing.stopping import StopCriterionContract, check_stop_criterion, history_of

__all__ = [
    "DrawnNumbers",
    "DrawnSoftmax",
    "FixedLabels",
    "FixedNumbers",
    "FixedProbabilities",
    "GateContract",
    "ItemSourceContract",
    "LabelStrategyContract",
    "LearnerContract",
    "LinearLabels",
    "LinearNumbers",
    "LinearSoftmax",
    "MetrologyStrategyContract",
    "QueryStrategyContract",
    "ScheduleContract",
    "StopCriterionContract",
    "check_gate",
    "check_item_source",
    "check_label_strategy",
    "check_learner",
    "check_metrology_strategy",
    "check_query_strategy",
    "check_schedule",
    "check_stop_criterion",
    "history_of",
    "query_context",
]
