"""Commands beside components of other kinds, over a pool of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from querist.errors import LearnerError
from querist.runs import Run
from tests.shared.runs import component, drive, experiment, new_run

__all__ = ["component", "drive", "experiment", "new_run"]

TRAIN = """
import json, os
import numpy as np
data = np.load(os.environ["QUERIST_LABELED"])
features, targets = data["features"].astype(float), data["targets"]
json.dump([features[targets == c].mean(0).tolist() for c in (0, 1)], open("centres.json", "w"))
print(len(targets))
"""
PREDICT = """
import json, os
import numpy as np
centres = np.array(json.load(open("centres.json")))
features = np.load(os.environ["QUERIST_FEATURES"])
near = np.exp(-((features[:, None] - centres) ** 2).sum(-1))
np.save("predictions.npy", near / near.sum(1, keepdims=True))
"""
LABEL = """
import json, os
request = json.load(open(os.environ["QUERIST_REQUEST"]))
print(json.dumps([int(x[1] < 0.25) for x in request["features"]]))
"""


def python(code: str) -> dict[str, Any]:
    return {"argv": ["python", "-c", code]}


def changes(**learner: Any) -> dict[str, Any]:
    options = {"train": python(TRAIN), "keep": ["centres.json"], **learner}
    measured = {"name": "command", "options": {**python("print(1)"), "metric": "one"}}
    return {
        "learner": {"name": "command", "options": options},
        "strategies": {
            "label": {"name": "command", "options": python(LABEL)},
            "metrology": ["f1", measured],
        },
        "stop": [{"name": "command", "options": {**python("print('nan')"), "operator": "<",
                                                 "value": 1}}],
    }  # fmt: skip


def test_built_in_queries_and_metrics_ask_the_program(
    new_run: Callable[..., Run], drive: Any
) -> None:
    whole, stopped = (new_run(name, **changes(predict=python(PREDICT))) for name in "ab")
    decision = drive.finish(whole)
    assert decision.reason == "max iterations: 3"
    assert whole.ledger.metrology()[2]["one"] == 1.0
    assert whole.ledger.metrology()[2]["f1"] > 0.5
    assert [result.train_loss for result in whole.history()] == [10.0, 15.0, 20.0]
    drive.iterate(stopped, 0)
    drive.finish(drive.reopened(stopped))
    assert drive.content(stopped) == drive.content(whole)


def test_without_predictions_the_query_is_refused_in_words(
    new_run: Callable[..., Run], drive: Any
) -> None:
    run = new_run(**changes())
    with pytest.raises(LearnerError, match=r"learner\.options\.predict is not there"):
        drive.iterate(run, 0)
