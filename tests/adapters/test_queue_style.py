"""Code in the older queue style runs unchanged, durable and without repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.adapters.queue_style import as_label, as_metrology, as_query
from querist.errors import ConfigurationError, LabelError, StrategyError
from querist.phases.settle import Outcome, settle_outcome, unsettled
from querist.runs import close_run
from querist.runs.model import bring_model_to
from querist.strategies.label import Oracle
from querist.strategies.metrology import F1
from querist.strategies.query import Margin

from .conftest import QUEUE_STYLE, Begin, do

QUERY = QUEUE_STYLE["strategies"]["query"]
NATIVE: dict[str, Any] = {
    "data": {
        "pool": {"name": "examples.two_moons.data:moons_pool", "options": {"n": 100}},
        "initial": {"share": 0.2},
    },
    "training": {"train_step_fn": None, "loss": "bce_with_logits"},
}


def strategies(**changes: Any) -> dict[str, Any]:
    return {**QUEUE_STYLE["strategies"], **changes}


def weights(run: Any) -> dict[str, torch.Tensor]:
    bring_model_to(run, 2)
    return {k: v.clone() for k, v in run.learner.module.state_dict().items()}


def test_an_experiment_in_the_queue_style(started: Begin) -> None:
    run = started()
    do(run)
    records = json.loads((run.reference.folder / "f1_metrology.json").read_text())
    assert [r["num_train_samples"] for r in records] == [20, 26, 32]
    own = json.loads((run.reference.folder / "my_records.json").read_text())
    assert [(r["step"], r["num_train_samples"], r["f1"]) for r in own] == [
        (r["step"], r["num_train_samples"], r["f1"]) for r in records
    ]
    indices = run.data.train_datapool.train_indices  # type: ignore[union-attr]
    assert len(indices) == len(set(indices)) == 38


@pytest.mark.parametrize(
    "stop",
    [(0, "metrology"), (1, "train"), (1, "metrology"), (1, "query"), (1, "label"), (2, "label")],
)
def test_a_resumed_one_ends_the_same(started: Begin, stop: tuple[int, str]) -> None:
    whole = started("whole")
    do(whole)
    run = started("parts")
    do(run, until=stop)
    close_run(run.reference)
    again = started("parts")
    assert again is not run
    do(again)
    assert again.data.train_datapool.train_indices == whole.data.train_datapool.train_indices  # type: ignore[union-attr]
    ours, theirs = weights(whole), weights(again)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for name in ("f1_metrology.json", "my_records.json"):
        files = [r.reference.folder / name for r in (whole, again)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_resume_in_the_middle_of_a_batch(started: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = started("whole")
    do(whole)
    run = started("parts")
    do(run, until=(1, "label"))
    record, came = run.ledger.record_label, []

    def break_at_third(*args: Any, **options: Any) -> bool:
        if len(came) == 2:
            raise KeyboardInterrupt
        came.append(args)
        return record(*args, **options)

    monkeypatch.setattr(run.ledger, "record_label", break_at_third)
    with pytest.raises(KeyboardInterrupt):
        do(run)
    close_run(run.reference)
    again = started("parts")
    (doubtful,) = unsettled(again.ledger).requests
    settle_outcome(again, frozenset({doubtful.sample}), Outcome.NOT_BOUGHT)
    do(again)
    assert again.data.train_datapool.train_indices == whole.data.train_datapool.train_indices  # type: ignore[union-attr]


def test_two_strategies_never_get_the_same_item_twice(started: Begin) -> None:
    fixed = [
        {"name": "older_code:FixedItems", "options": {"items": [0, 1, 2, 1]}},
        {"name": "older_code:FixedItems", "options": {"items": [2, 3]}},
    ]
    metrology = "older_code:Witness"
    run = started(
        strategies=strategies(query=fixed, batch=10, metrology=metrology),
        driver={"max_active_learning_steps": 2},
    )
    before = len(run.data.train_datapool)  # type: ignore[union-attr]
    do(run)
    chosen = run.data.train_datapool.train_indices[before:]  # type: ignore[union-attr]
    assert chosen == [0, 1, 2, 3, 10, 11, 12, 13]
    log = (run.reference.folder / "console.log").read_text()
    assert "chose 1 items twice" in log
    assert "the witness measured" in log


def test_what_is_not_labeled_is_asked_for_again(started: Begin) -> None:
    run = started(
        strategies=strategies(
            query={"name": "older_code:FixedItems", "options": {"items": [0, 1, 2, 3]}},
            label="older_code:HalfOf",
        ),
        driver={"max_active_learning_steps": 1},
    )
    do(run)
    assert len(run.ledger.open_requests()) == 2
    assert run.ledger.labels_spent()[0] == 2


def test_two_labels_for_one_item_are_refused(started: Begin) -> None:
    run = started(strategies=strategies(label="older_code:Unasked"))
    with pytest.raises(StrategyError, match="put 2 labels for one item"):
        do(run)
    assert len(run.ledger.open_requests()) == 5
    assert len(unsettled(run.ledger).requests) == 1, "it may have been bought all the same"


def test_a_queue_style_query_on_a_native_pool(started: Begin) -> None:
    query = {"name": "older_code:FirstPositions", "options": {"number": 4, "twice": True}}
    run = started(
        **NATIVE, strategies=strategies(query={**query, "n": 4}, label="oracle", metrology="f1")
    )
    lowest = run.data.unlabeled(run.ledger)[:4].tolist()
    do(run)
    assert run.ledger.selected(0).tolist() == lowest
    assert run.ledger.labels_spent()[0] == 12
    assert len(set(run.ledger.selected().tolist())) == 12


def test_a_position_that_is_not_there(started: Begin) -> None:
    query = {"name": "older_code:FirstPositions", "options": {"beyond": True}, "n": 10}
    run = started(**NATIVE, strategies=strategies(query=query, label="oracle", metrology="f1"))
    with pytest.raises(
        StrategyError, match="it puts positions 0 to 79 of driver.unlabeled_datapool"
    ):
        do(run)


def test_a_queue_style_label_strategy_needs_a_data_set_that_appends(started: Begin) -> None:
    query = {"name": "random", "n": 2}
    run = started(**NATIVE, strategies=strategies(query=query, metrology="f1"))
    with pytest.raises(StrategyError, match="works with a data set that has `append`"):
        do(run)


def test_a_data_set_that_refuses_an_item(started: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started()

    def append(item: Any) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(run.data.train_datapool, "append", append)  # type: ignore[union-attr]
    with pytest.raises(LabelError, match="refused the item .* no room; it is in the ledger"):
        do(run)


# Steps of the user's own --------------------------------------------------------------------------


@pytest.fixture
def steps(started: Begin, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    import older_code  # type: ignore[import-not-found]

    monkeypatch.setattr(older_code, "STEPS", {"train": 0, "validate": 0})
    found: dict[str, int] = older_code.STEPS
    return found


def test_a_training_step_on_the_model(started: Begin, steps: dict[str, int]) -> None:
    run = started(
        data=NATIVE["data"],
        learner="older_code:OwnStep",
        training={"train_step_fn": None},
        strategies=strategies(query={"name": "random", "n": 2}, label="oracle", metrology="f1"),
    )
    do(run, until=(0, "query"))
    assert steps["train"] == 5 * 2  # 20 labels in batches of 16
    assert 0 <= run.ledger.metrology()[0]["f1"] <= 1


def test_bare_step_functions(started: Begin, steps: dict[str, int]) -> None:
    run = started(
        data={**NATIVE["data"], "split": {"validation": 0.2}},
        training={
            "loss": "bce_with_logits",
            "train_step_fn": "older_code:train_step",
            "validate_step_fn": "older_code:validate_step",
        },
        strategies=strategies(query={"name": "random", "n": 2}, label="oracle", metrology="f1"),
    )
    do(run, until=(0, "metrology"))
    assert steps["validate"] == 5
    outcome = run.ledger.phase_rows(0)[0][3]
    assert outcome["validation_loss"] > 0


# Recognition --------------------------------------------------------------------------------------


def test_native_strategies_stay_as_they_are() -> None:
    for adapt, strategy in ((as_query, Margin()), (as_label, Oracle()), (as_metrology, F1())):
        assert adapt(strategy) is strategy


@pytest.mark.parametrize(
    ("adapt", "method"), [(as_query, "sample"), (as_label, "label"), (as_metrology, "compute")]
)
def test_what_is_no_strategy(adapt: Any, method: str) -> None:
    with pytest.raises(StrategyError, match=f"has a method `{method}`, object has none"):
        adapt(object())


def test_the_folder_is_the_runs(started: Begin, tmp_path: Path) -> None:
    assert started().reference.folder == tmp_path / "active_learning_logs" / "run"


def test_a_label_budget_counts_what_the_data_set_brought(started: Begin) -> None:
    run = started(stop=[{"name": "label_budget", "options": {"labels": 28}}])
    do(run)
    assert len(run.labeled(run.ledger.next_iteration())) == 28


def test_a_data_set_that_appends_has_no_stop_set(started: Begin) -> None:
    with pytest.raises(ConfigurationError, match="stop set needs samples with an index"):
        started(
            strategies=strategies(metrology=[QUEUE_STYLE["strategies"]["metrology"], "stability"])
        )
