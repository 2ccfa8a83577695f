"""Whole small loops with plain calls of the phases."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from querist import phases
from querist.errors import ConfigurationError, DataError, LabelError, StrategyError
from querist.ledger import RequestState
from querist.phases.conclude import conclude
from querist.pools import TensorPool
from querist.values import Label, Phase, Selection


def test_two_moons_in_small(new_run: Any, drive: Any) -> None:
    run = new_run()
    decision = drive.finish(run)
    assert decision.reason == "max iterations: 3"
    records = json.loads((run.reference.folder / "f1_metrology.json").read_text())
    assert [r["step"] for r in records] == [0, 1, 2]
    assert [r["num_train_samples"] for r in records] == [10, 15, 20]
    assert len(run.data.labeled(run.ledger)) == 25
    assert [r.labels for r in run.history()] == [10, 15, 20]
    assert all(r.train_loss is not None and set(r.seconds) == set(Phase) for r in run.history())
    lines = (run.reference.folder / "driver_log.json").read_text().splitlines()
    events = [(e["iteration"], e["phase"], e["event"]) for e in map(json.loads, lines)]
    assert events[:3] == [(0, "train", "start"), (0, "train", "end"), (0, "metrology", "start")]
    assert events[-1] == (2, "driver", "stop")


def test_a_phase_that_is_done_is_not_done_again(new_run: Any, drive: Any) -> None:
    run = new_run()
    drive.iterate(run, 0)
    before = drive.content(run)
    phases.train(run, 0)
    phases.metrology(run, 0)
    assert phases.query(run, 0) == 5
    assert phases.label(run, 0) == 0
    assert phases.commit_iteration(run, 0) is None
    assert phases.pending_phases(run, 0) == []
    assert drive.content(run) == before


def test_the_selection_is_never_labeled_held_back_or_repeated(new_run: Any, drive: Any) -> None:
    run = new_run(driver={"max_active_learning_steps": 8})
    drive.finish(run)
    selected = run.ledger.selected()
    assert len(selected) == len(selected.unique()) == 40
    assert bool(torch.isin(selected, run.data.queryable).all())
    assert not bool(torch.isin(selected, run.data.initial).any())


def test_several_query_strategies_share_the_budget_in_order(new_run: Any, drive: Any) -> None:
    query = [{"name": "margin", "n": 3}, {"name": "random", "n": 4}, {"name": "entropy", "n": 2}]
    run = new_run(strategies={"query": query, "batch": 8})
    phases.train(run, 0)
    phases.query(run, 0)
    with run.ledger.db.engine.connect() as connection:
        from sqlalchemy import text

        rows = connection.execute(text("SELECT strategy FROM selections ORDER BY position"))
        assert [r[0] for r in rows] == ["margin"] * 3 + ["random"] * 4 + ["entropy"]
    assert len(run.ledger.selected(0).unique()) == 8


def test_two_strategies_that_want_the_same_do_not_repeat_it(new_run: Any, component: Any) -> None:
    class Lowest:
        def sample(self, context: Any, n: int) -> Selection:
            return Selection(tuple(context.unlabeled[:n].tolist()), (1.0,) * n)

    name = component("query", Lowest)
    run = new_run(strategies={"query": [{"name": name, "n": 2}, {"name": name, "n": 3}]})
    phases.train(run, 0)
    phases.query(run, 0)
    assert run.ledger.selected(0).tolist() == run.data.queryable[:5].tolist()


def test_a_strategy_without_an_n_takes_what_is_left(new_run: Any) -> None:
    run = new_run(strategies={"query": [{"name": "margin", "n": 3}, "random"], "batch": 10})
    phases.train(run, 0)
    assert phases.query(run, 0) == 10


def bad(what: str) -> type:
    class Bad:
        def sample(self, context: Any, n: int) -> Selection:
            chosen = context.unlabeled[:n].tolist()
            if what == "too many":
                chosen = context.unlabeled[: n + 1].tolist()
            elif what == "twice":
                chosen[1] = chosen[0]
            elif what == "labeled":
                chosen[0] = int(context.labeled.indices[0])
            elif what == "nowhere":
                chosen[0] = 10**6
            scores = (1.0,) * (len(chosen) - (what == "scores"))
            return Selection(tuple(chosen), scores)

    return Bad


@pytest.mark.parametrize(
    ("what", "words"),
    [("too many", "chose 6 samples, asked for 5"), ("twice", "chose a sample twice"),
     ("labeled", "labeled, held back or not in the pool"), ("nowhere", "1000000"),
     ("scores", "4 scores for 5 samples")],
)  # fmt: skip
def test_a_query_strategy_that_breaks_its_contract(
    new_run: Any, component: Any, what: str, words: str
) -> None:
    run = new_run(strategies={"query": {"name": component("query", bad(what)), "n": 5}})
    phases.train(run, 0)
    with pytest.raises(StrategyError, match=words):
        phases.query(run, 0)
    assert len(run.ledger.selected()) == 0
    assert run.ledger.open_requests() == []


def test_a_query_larger_than_the_pool(new_run: Any, drive: Any) -> None:
    run = new_run(strategies={"query": {"name": "margin", "n": 1000}})
    assert not drive.iterate(run, 0).stop
    assert len(run.ledger.selected(0)) == 50
    log = (run.reference.folder / "console.log").read_text()
    assert "asked for 1000 samples, pool and budget left 50" in log
    decision = drive.iterate(run, 1)
    assert decision.stop
    assert "pool exhausted" in decision.reason
    assert len(run.labeled(1)) == 60, "the last model was trained on everything"


def test_skip_training(new_run: Any, drive: Any) -> None:
    run = new_run(driver={"skip_training": True})
    first = run.learner.state_files()
    drive.finish(run)
    assert run.learner.state_files() == first
    assert run.checkpoints.iterations() == []
    assert len(run.labeled(2)) == 20
    assert all(r.train_loss is None for r in run.history())
    assert drive.content(run)["checkpoints"] == [None] * 3
    assert conclude(run).iterations == 3


def test_skip_metrology(new_run: Any, drive: Any) -> None:
    run = new_run(driver={"skip_metrology": True}, strategies={"metrology": []})
    drive.finish(run)
    assert run.ledger.metrology() == {}
    assert not (run.reference.folder / "f1_metrology.json").exists()
    summary = conclude(run)
    assert (summary.metric, summary.first, summary.labels) == (None, None, 25)


def test_skip_labeling(new_run: Any, drive: Any) -> None:
    run = new_run(driver={"skip_labeling": True}, strategies={"label": None})
    drive.finish(run)
    assert len(run.labeled(2)) == 10
    assert len(run.ledger.selected().unique()) == 15
    assert run.ledger.open_requests() == []


class Source:
    """A label source that a test directs."""

    answers: dict[int, Any] = {}  # noqa: RUF012
    asked: list[list[int]] = []  # noqa: RUF012
    limit = 10**9
    fail_after = 10**9

    def label(self, request: Any) -> Iterator[Label]:
        type(self).asked.append(request.indices.tolist())
        truth = request.pool.targets(request.indices).tolist()
        for position, (index, value) in enumerate(
            zip(request.indices.tolist(), truth, strict=True)
        ):
            if position == type(self).limit:
                return
            if position == type(self).fail_after:
                raise ConnectionError("the labeling tool is away")
            yield Label(index, type(self).answers.get(position, value))


@pytest.fixture
def source(component: Any) -> tuple[str, type[Source]]:
    made = type("Directed", (Source,), {"answers": {}, "asked": []})
    return component("label", made), made


def test_a_label_outside_the_classes_is_refused_and_the_batch_goes_on(
    new_run: Any, drive: Any, source: Any
) -> None:
    name, made = source
    run = new_run(strategies={"label": {"name": name}})
    made.answers = {3: 7}
    drive.iterate(run, 0)
    chosen = run.ledger.selected(0).tolist()
    assert [row[0] for row in run.ledger.label_rows()][10:] == chosen[:3] + chosen[4:]
    assert run.ledger.open_requests() == []
    (refused,) = run.ledger.quarantined()
    assert (refused.sample, refused.value) == (str(chosen[3]), "7")
    assert "a class 0 to 1, not 7" in refused.reason
    drive.finish(drive.reopened(run))
    assert sum(samples.count(chosen[3]) for samples in made.asked) == 1, "it was bought twice"


def test_a_source_of_which_nothing_is_a_label(new_run: Any, drive: Any, source: Any) -> None:
    name, made = source
    made.answers = dict.fromkeys(range(5), 7)
    run = new_run(strategies={"label": {"name": name}})
    with pytest.raises(LabelError, match="not one answer was a label, 5 are in .* not 7"):
        drive.iterate(run, 0)


@pytest.mark.parametrize("queue", ["ledger", "memory"])
@pytest.mark.parametrize("reopen", [True, False])
def test_a_source_that_fails_is_asked_only_for_the_rest(
    new_run: Any, drive: Any, source: Any, queue: str, reopen: bool
) -> None:
    name, made = source
    run = new_run(strategies={"label": {"name": name}, "queue": queue, "label_attempts": 2})
    made.fail_after = 2
    drive.iterate(run, 0)
    first = run.ledger.selected(0).tolist()
    assert made.asked == [first, first[2:]], "what is left is asked for once more, and no more"
    assert [request.sample for request in run.ledger.open_requests()] == first[4:]
    assert "ConnectionError" in run.ledger.open_requests()[0].reason
    made.fail_after = 10**9
    if reopen:
        run = drive.reopened(run)
    drive.iterate(run, 1)
    assert made.asked[2] == first[4:] + run.ledger.selected(1).tolist()
    assert len(run.data.labeled(run.ledger)) == 20


def test_a_source_that_gives_nothing_but_errors_stops_the_run(
    new_run: Any, drive: Any, source: Any
) -> None:
    name, made = source
    run = new_run(strategies={"label": {"name": name}})
    made.fail_after = 0
    with pytest.raises(ConnectionError):
        drive.iterate(run, 0)
    assert len(made.asked) == 3
    made.fail_after = 10**9
    run = drive.reopened(run)
    drive.iterate(run, 0)
    assert len(run.data.labeled(run.ledger)) == 15


def test_attempts_wait_longer_each_time(
    new_run: Any, drive: Any, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, made = source
    made.fail_after = 0
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    settings = {"label_attempts": 10, "label_backoff_seconds": 2}
    run = new_run(strategies={"label": {"name": name}, **settings})
    with pytest.raises(ConnectionError):
        drive.iterate(run, 0)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_pending_labels_are_asked_for_again_in_the_next_iteration(
    new_run: Any, drive: Any, source: Any
) -> None:
    name, made = source
    made.limit = 2
    run = new_run(strategies={"label": {"name": name}})
    drive.iterate(run, 0)
    first = run.ledger.selected(0).tolist()
    assert [r.sample for r in run.ledger.open_requests()] == first[2:]
    run = drive.reopened(run)
    made.limit = 10**9
    drive.iterate(run, 1)
    second = run.ledger.selected(1).tolist()
    assert made.asked == [first, first[2:] + second]
    assert run.ledger.open_requests() == []
    assert len(run.labeled(1)) == 12
    assert run.data.labeled(run.ledger).indices[10:].tolist() == first + second


def test_pending_labels_are_part_of_the_budget_but_do_not_exhaust_the_pool(
    new_run: Any, drive: Any, source: Any
) -> None:
    name, made = source
    made.limit = 1
    stop = {"name": "label_budget", "options": {"labels": 15}}
    run = new_run(strategies={"label": {"name": name}}, stop=[stop],
                  driver={"max_active_learning_steps": 20})  # fmt: skip
    decision = drive.finish(run)
    assert "pool exhausted" not in decision.reason
    assert "15 of 15 labels" in decision.reason
    assert len(run.data.labeled(run.ledger)) == 15


def test_a_label_budget_is_never_overspent(new_run: Any, drive: Any) -> None:
    stop = {"name": "label_budget", "options": {"labels": 18}}
    run = new_run(stop=[stop], driver={"max_active_learning_steps": 20})
    decision = drive.finish(run)
    assert decision.reason == "budget spent: 18 of 18 labels"
    assert [r.labels for r in run.history()] == [10, 15, 18]
    assert run.ledger.labels_spent()[0] == 8


def test_a_label_that_nobody_asked_for(new_run: Any, drive: Any, component: Any) -> None:
    class Chatty:
        def label(self, request: Any) -> Iterator[Label]:
            yield Label(int(request.pool.made_from) + 7, 0)
            yield Label(int(request.indices[0]), 0)

    run = new_run(strategies={"label": {"name": component("label", Chatty)}})
    drive.iterate(run, 0)
    assert "was never asked for" in run.ledger.quarantined()[0].reason
    assert len(run.data.labeled(run.ledger)) == 11
    doubtful = [r for r in run.ledger.requests() if r.state is RequestState.IN_DOUBT]
    assert len(doubtful) == 4, "the stray answer may be one of theirs"
    assert run.ledger.open_requests() == []


def test_several_annotators_of_one_sample(new_run: Any, drive: Any, component: Any) -> None:
    class Crowd:
        def label(self, request: Any) -> Iterator[Label]:
            for index in request.indices.tolist():
                for annotator, value in (("a", 1), ("b", 0), ("c", 1)):
                    yield Label(index, value, annotator)

    run = new_run(strategies={"label": {"name": component("label", Crowd)}})
    drive.iterate(run, 0)
    assert run.labeled(1).targets[10:].tolist() == [1] * 5
    assert run.ledger.labels_spent()[0] == 15
    assert run.ledger.open_requests() == []


def test_memory_queue(new_run: Any, drive: Any) -> None:
    run, durable = new_run(strategies={"queue": "memory"}), new_run()
    for each in (run, durable):
        drive.finish(each)
    assert drive.content(run)["files"] == drive.content(durable)["files"]
    assert drive.content(run)["labels"] == drive.content(durable)["labels"]


def test_memory_queue_after_a_crash_between_query_and_label(new_run: Any, drive: Any) -> None:
    run = new_run(strategies={"queue": "memory"})
    phases.train(run, 0)
    phases.metrology(run, 0)
    phases.query(run, 0)
    run = drive.reopened(run)
    assert phases.pending_phases(run, 0) == [Phase.QUERY, Phase.LABEL]
    drive.finish(run)
    assert len(run.data.labeled(run.ledger)) == 25


def test_a_separate_initial_pool(new_run: Any, drive: Any, component: Any) -> None:
    def named(n: int, seed: int, known: bool = True) -> str:
        features = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
        targets = (features[:, 0] > 0.5).long() if known else None
        test = torch.rand(20, 2, generator=torch.Generator().manual_seed(99))
        held = {"test": TensorPool(test, (test[:, 0] > 0.5).long(), classes=2)}
        return component("pool", lambda: TensorPool(features, targets, classes=2, held_out=held))

    changes = {
        "data": {
            "pool": {"name": named(30, 1)},
            "initial": {"pool": named(6, 2), "count": None, "stratify": False},
        }
    }
    run = new_run(**changes)
    assert run.labeled(0).indices.tolist() == list(range(30, 36))
    drive.finish(run)
    assert run.labeled(2).indices[:6].tolist() == list(range(30, 36))
    assert run.ledger.selected().max() < 30
    assert drive.reopened(run).labeled(2).targets.tolist() == run.labeled(2).targets.tolist()


def test_an_initial_pool_of_one_class(new_run: Any, component: Any) -> None:
    one = component("pool", lambda: TensorPool(torch.rand(4, 2), torch.zeros(4).long(), classes=2))
    with pytest.raises(DataError, match="hold only class 0"):
        new_run(data={"initial": {"pool": one, "count": None, "stratify": False}})


class Proposing(TensorPool):
    """A pool that makes its own candidates."""

    bad = False

    def __init__(self) -> None:
        features = torch.rand(10, 2, generator=torch.Generator().manual_seed(1))
        test = torch.rand(20, 2, generator=torch.Generator().manual_seed(99))
        held = {"test": TensorPool(test, (test[:, 0] > 0.5).long(), classes=2)}
        super().__init__(features, (features[:, 0] > 0.5).long(), classes=2, held_out=held)

    def propose(self, iteration: int, generator: torch.Generator) -> torch.Tensor:
        made = torch.rand(6, 2, generator=generator)
        if type(self).bad:
            made[0, 0] = float("nan")
        return made


class Rule:
    def label(self, request: Any) -> Iterator[Label]:
        for index, x in zip(request.indices.tolist(), request.features()[:, 0], strict=True):
            yield Label(index, int(x > 0.5))


def proposing(component: Any, pool: type = Proposing) -> dict[str, Any]:
    return {
        "data": {"pool": {"name": component("pool", pool)}, "initial": {"count": 6}},
        "strategies": {
            "label": {"name": component("label", Rule)},
            "query": {"name": "random", "n": 4},
        },
    }


def test_made_samples_are_kept(new_run: Any, drive: Any, component: Any) -> None:
    changes = proposing(component)
    whole = new_run(**changes)
    drive.finish(whole)
    selected = whole.ledger.selected()
    made = selected[selected >= 10]
    assert len(made), "no made sample was ever chosen"
    assert sorted(made.tolist()) == list(range(10, 10 + len(made))), "numbered without gaps"

    run = new_run(**changes)
    for iteration in range(3):
        run = drive.reopened(run)
        drive.iterate(run, iteration)
    assert drive.content(run) == drive.content(whole)
    assert torch.equal(run.data.pool.features(selected), whole.data.pool.features(selected))


def test_made_samples_that_are_not_finite(new_run: Any, component: Any) -> None:
    run = new_run(**proposing(component, type("Bad", (Proposing,), {"bad": True})))
    phases.train(run, 0)
    with pytest.raises(StrategyError, match="1 of the 6 samples that the pool proposed have NaN"):
        phases.query(run, 0)


def test_a_strategy_that_makes_its_own_samples(new_run: Any, drive: Any, component: Any) -> None:
    class Maker:
        def sample(self, context: Any, n: int) -> Selection:
            made = torch.rand(n, 2, generator=context.generator)
            return Selection((), (1.0,) * n, samples=made)

    changes = {"strategies": {"query": {"name": component("query", Maker), "n": 4},
                              "label": {"name": component("label", Rule)}}}  # fmt: skip
    run = new_run(**changes)
    drive.finish(run)
    assert run.ledger.selected().tolist() == list(range(60, 72))
    again = drive.reopened(run)
    assert torch.equal(
        again.data.pool.features(torch.arange(60, 72)), run.data.pool.features(torch.arange(60, 72))
    )


@pytest.mark.parametrize("at_once", [True, False])
def test_a_sample_is_not_made_twice(
    new_run: Any, drive: Any, component: Any, at_once: bool
) -> None:
    class Repeats:
        def sample(self, context: Any, n: int) -> Selection:
            made = torch.ones(n, 2) * torch.arange(1.0, n + 1)[:, None]
            return Selection((), (1.0,) * n, samples=torch.ones(n, 2) if at_once else made)

    run = new_run(strategies={"query": {"name": component("query", Repeats), "n": 4},
                              "label": {"name": component("label", Rule)}})  # fmt: skip
    if not at_once:
        drive.iterate(run, 0)
    phases.train(run, 0 if at_once else 1)
    with pytest.raises(StrategyError, match=f"and {3 if at_once else 4} of the 4 that it made"):
        phases.query(run, 0 if at_once else 1)
    assert len(run.ledger.selected()) == (0 if at_once else 4)


def test_samples_are_made_where_the_learner_is_unsure(
    new_run: Any, drive: Any, component: Any
) -> None:
    query = {"name": "generated", "n": 4, "options": {"starts": 16, "steps": 4}}
    changes = {"strategies": {"query": query, "label": {"name": component("label", Rule)}}}
    run = new_run(**changes)
    drive.finish(run)
    assert run.ledger.selected().tolist() == list(range(60, 72))
    again = new_run(**changes)
    for iteration in range(3):
        again = drive.reopened(again)
        drive.iterate(again, iteration)
    assert drive.content(again) == drive.content(run)


def test_digits_with_scikit_learn(new_run: Any, drive: Any) -> None:
    changes = {
        "data": {"pool": {"name": "digits"}, "split": {"test": 0.3},
                 "initial": {"count": 100, "stratify": True}},
        "learner": {"name": "sklearn", "options": {"estimator": "RandomForestClassifier",
                                                   "parameters": {"n_estimators": 10}}},
        "strategies": {"query": {"name": "entropy", "n": 20}, "metrology": ["f1", "accuracy"]},
    }  # fmt: skip
    runs = [new_run(**changes) for _ in range(2)]
    for run in runs:
        drive.finish(run)
    assert drive.content(runs[0]) == drive.content(runs[1])
    assert runs[0].history()[-1].metrics["accuracy"] > 0.6
    assert list(runs[0].history()[0].metrics) == ["precision", "recall", "f1", "accuracy"]


def test_regression(new_run: Any, drive: Any, component: Any) -> None:
    def numbers() -> TensorPool:
        features = torch.rand(80, 2)
        return TensorPool(features, features.sum(1))

    run = new_run(
        data={"pool": {"name": component("pool", numbers)}, "split": {"test": 0.25},
              "initial": {"count": 10, "stratify": False}},
        strategies={"query": {"name": "random", "n": 5}, "metrology": ["mse", "r2", "mae"]},
        training={"max_training_epochs": 20},
    )  # fmt: skip
    drive.finish(run)
    history = run.history()
    assert list(history[0].metrics) == ["mse", "r2", "mae"]
    assert history[-1].metrics["mse"] < history[0].metrics["mse"]
    assert conclude(run).metric == "mse"


def test_schedules_change_settings_and_are_recorded(new_run: Any, drive: Any) -> None:
    schedules = [
        {"name": "per_iteration", "group": "training",
         "options": {"settings": {"1": {"fine_tuning_lr": 0.5},
                                  "2": {"max_fine_tuning_epochs": 4}}}},
        {"name": "per_iteration", "group": "strategies",
         "options": {"settings": {"1": {"batch": 2}}}},
    ]  # fmt: skip
    run = new_run(schedules=schedules, driver={"checkpoint_interval": 0})
    drive.iterate(run, 0)
    run = drive.reopened(run)
    drive.finish(run)
    settings = [json.loads(row.settings) for row in run.ledger.commit_rows()]
    assert [s["training"]["fine_tuning_lr"] for s in settings] == [None, 0.5, None]
    epochs = [o["epochs"] for _, p, _, o in run.ledger.phase_rows() if p is Phase.TRAIN]
    assert epochs == [2, 2, 4]
    assert [len(run.ledger.selected(i)) for i in range(3)] == [5, 2, 5]
    whole = new_run(schedules=schedules, driver={"checkpoint_interval": 0})
    drive.finish(whole)
    assert drive.content(whole)["files"] == drive.content(run)["files"]


def test_a_schedule_with_an_unknown_key(new_run: Any) -> None:
    schedule = {"name": "static", "group": "training", "options": {"settings": {"batchsize": 3}}}

    def begin() -> None:
        phases.train(new_run(schedules=[schedule]), 0)

    with pytest.raises(ConfigurationError, match="'batch_size'"):
        begin()


def test_the_champion_is_kept_though_others_are_pruned(
    new_run: Any, drive: Any, component: Any
) -> None:
    from querist.values import Verdict

    class Second:
        def compare(self, champion: Any, challenger: Any) -> Verdict:
            return Verdict(challenger.iteration == 1, "the second one it is")

    run = new_run(gate={"name": component("gate", Second)},
                  driver={"checkpoint_interval": 0, "max_active_learning_steps": 5})  # fmt: skip
    drive.finish(run)
    assert run.checkpoints.iterations() == [1, 4]
    summary = conclude(run)
    assert summary.model_iteration == 1
    assert run.learner.state_files() == run.checkpoints.load(1)[0]
    assert [v["promote"] for v in run.ledger.verdicts().values()] == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_two_metrology_strategies_of_one_metric(new_run: Any) -> None:
    run = new_run(strategies={"metrology": ["f1", {"name": "f1", "options": {"average": "macro"}}]})
    phases.train(run, 0)
    with pytest.raises(StrategyError, match="two metrology strategies measure"):
        phases.metrology(run, 0)


def test_the_end_of_a_run(new_run: Any, drive: Any) -> None:
    run = new_run()
    drive.finish(run)
    summary = conclude(run)
    assert (summary.iterations, summary.labels, summary.labels_bought) == (3, 25, 15)
    assert summary.stop_reason == "max iterations: 3"
    assert summary.metric == "f1"
    assert set(summary.seconds) == {"train", "metrology", "query", "label"}
    folder = Path(summary.folder)
    assert {p.name for p in (folder / "figures").iterdir()} == {
        "learning_curve.png", "decision_boundary.png",
    }  # fmt: skip
    assert json.loads((folder / "summary.json").read_text())["run_id"] == run.reference.run_id
