"""The digits with query strategies for every task, from the YAML files to the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from examples.strategies.pools import digit_classes, digit_labels, digit_numbers
from querist import phases
from querist.config.load import load_experiment
from querist.runs import Run, close_run, create_run
from querist.runs.status import read_status

from ..shared.runs import finish

EXAMPLES = Path(__file__).parents[2] / "examples" / "strategies"
GOALS = {
    "multilabel": ("f1_macro", 0.93),
    "worth_its_cost": ("accuracy", 0.92),
}
"""By file: a metric, and what it reaches."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[Run]]:
    runs: list[Run] = []
    yield runs
    for run in runs:
        close_run(run.reference)


def new_run(name: str, root: Path, opened: list[Run]) -> Run:
    overrides = [f"driver.root_log_dir={root}", "tracking.enabled=false"]
    opened.append(create_run(load_experiment(EXAMPLES / f"{name}.yaml", overrides)))
    return opened[-1]


@pytest.mark.parametrize("name", sorted(file.stem for file in EXAMPLES.glob("*.yaml")))
def test_every_file_reaches_its_goal(tmp_path: Path, name: str, opened: list[Run]) -> None:
    run = new_run(name, tmp_path, opened)
    decision = finish(run)
    metric, goal = GOALS[name]
    measured = [values[metric] for _, values in sorted(run.ledger.metrology().items())]
    assert measured[-1] > max(goal, measured[0])
    summary = phases.conclude(run)
    assert summary.stop_reason == decision.reason


def test_the_budgeted_run_says_when_a_label_is_not_worth_its_cost(
    tmp_path: Path, opened: list[Run]
) -> None:
    run = new_run("worth_its_cost", tmp_path, opened)
    decision = finish(run)
    labels = len(run.data.labeled(run.ledger))
    assert decision.reason.startswith("criterion met: a label is expected to gain")
    assert "below its cost 2 after" in decision.reason
    assert labels < 400, "the budget ended it"
    status = read_status(run.reference)
    assert status.stop_reason == decision.reason
    assert status.label_cost == 2.0 * status.labels_bought == 2.0 * (labels - 50)


def test_the_pools() -> None:
    three, ten = torch.tensor([3]), torch.arange(10)
    assert digit_labels().targets(ten).tolist()[:4] == [[1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert digit_labels().targets(torch.tensor([9])).tolist() == [[0, 1, 1]]
    assert digit_numbers(5).targets(three).item() == pytest.approx(3 / 9)
    assert (len(digit_numbers(5)), digit_classes(50).classes) == (5, 10)
