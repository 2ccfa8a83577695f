"""What is scheduled: checked before anything is made, and in force in every phase."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from querist import phases
from querist.config.load import build_experiment, merge
from querist.errors import ConfigurationError
from querist.runs import Run
from querist.runs.open import check_components
from querist.runs.schedules import CHANGEABLE, check_schedules, scheduled
from querist.runs.strategies import build_schedules
from querist.runs.tracking import track_start
from querist.tracking.spool import TrackingSpool
from querist.values import Label, MetrologyRecord, Phase, StopDecision
from tests.shared.killed import Lab, outcome, own_process
from tests.shared.runs import BASE

__all__ = ["own_process"]


def static(group: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"name": "static", "group": group, "options": {"settings": settings}}


def at(group: str, settings: dict[Any, Any], **options: Any) -> dict[str, Any]:
    options = {"settings": settings, **options}
    return {"name": "per_iteration", "group": group, "options": options}


def adaptive(group: str, **settings: Any) -> dict[str, Any]:
    named = {path.replace("__", "."): spec for path, spec in settings.items()}
    return {"name": "adaptive", "group": group, "options": {"settings": named}}


def exponential(start: float, factor: float, **more: Any) -> dict[str, Any]:
    return {"function": "exponential", "start": start, "factor": factor, **more}


class Noisy:
    """A label source with an option; it can keep samples pending."""

    asked: list[tuple[float, list[int]]]  # noise and samples of every call
    built: list[float]
    limit = 10**9

    def __init__(self, noise: float = 0.0) -> None:
        if noise > 1:
            raise ConfigurationError(f"noise is at most 1, not {noise}: lower it")
        self.noise = noise
        self.built.append(noise)

    def label(self, request: Any) -> Iterator[Label]:
        self.asked.append((self.noise, request.indices.tolist()))
        truth = request.pool.targets(request.indices).tolist()
        for index, value in list(zip(request.indices.tolist(), truth, strict=True))[: self.limit]:
            yield Label(index, value)


@pytest.fixture
def noisy(component: Callable[..., str]) -> tuple[str, Any]:
    made = type("Noisy", (Noisy,), {"asked": [], "built": []})
    return component("label", made), made


# Checked before the run ---------------------------------------------------------------------------


def refuses(message: str, *schedules: dict[str, Any], **changes: Any) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_components(build_experiment(merge(BASE, {"schedules": list(schedules), **changes})))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            static("training", {"batchsize": 3}),
            "there is no key named 'batchsize': did you mean 'ba",
        ),
        (static("training", {"batch_size": 0}), r"iteration 0: training.batch_size: .*, not 0"),
        (static("training", {"optimizer": {"options": {"momentun": 0}}}), "'momentum'"),
        (static("strategies", {"bach": 3}), "'batch'"),
        (static("strategies.query", {"m": 3}), "has no entry 'm'"),
        (static("strategies.query", {"margin": {"m": 3}}), "there is no key named 'm'"),
        (static("strategies.query", {"options": {"m": 3}}), "option of query 'margin' named 'm'"),
        (static("strategies.label", {"noise": 0.1}), "there is no key named 'noise'"),
        (static("strategies.label", {"options": {"noise": 1}}), "option of label 'oracle' named"),
        (static("strategies.label", {"options": {"cost": -1}}), "cost is a finite number of at"),
        (static("strategies.metrology", {"options": {"averag": "macro"}}), "'average'"),
        (static("stop", {"options": {"n": 3}}), "the entries are none"),
        (at("training", {2: {"batchsize": 3}}), "'batch_size'"),
        (at("training", {70_000: {"batchsize": 3}}), "a schedule of training: .*'batch_size'"),
        (at("strategies.label", {70_000: {"options": {"cost": -1}}}), "cost is a finite number"),
        (adaptive("training", batchsize=exponential(8, 2, cap=64)), "'batch_size'"),
        (adaptive("training", batch_size=exponential(8, 2)), "training.batch_size"),
    ],
)
def test_a_mistake_is_found_before_anything_is_made(schedule: dict[str, Any], message: str) -> None:
    refuses(message, schedule, driver={"max_active_learning_steps": 100})


@pytest.mark.parametrize("key", ["loop", "loss", "train_step_fn", "device", "dtype", "threads"])
def test_what_is_built_once_is_fixed(key: str) -> None:
    refuses(f"cannot change training.{key}, which is fixed", static("training", {key: "auto"}))


def test_the_queue_is_fixed() -> None:
    refuses("cannot change strategies.queue, which", static("strategies", {"queue": "memory"}))


def test_a_group_that_has_no_schedules() -> None:
    refuses("schedules.0.group", static("driver", {"checkpoint_interval": 3}))


def test_only_iterations_that_the_run_reaches_are_asked_for() -> None:
    falling = {"function": "linear", "start": 0.5, "slope": -0.01}
    schedules = [adaptive("training", optimizer__options__lr=falling)]
    for steps, refused in ((50, False), (51, True), (10**6, True)):
        content = {"schedules": schedules, "driver": {"max_active_learning_steps": steps}}
        experiment = build_experiment(merge(BASE, content))
        if refused:
            with pytest.raises(ConfigurationError, match="schedules in iteration 50: .*lr must be"):
                check_schedules(experiment)
        else:
            check_schedules(experiment)


def test_the_last_iteration_is_asked_for() -> None:
    asleep = exponential(0.1, 0.99)  # 5e-7 in iteration 1,200; 0 in iteration 80,000
    content = {
        "schedules": [adaptive("training", optimizer__options__lr=asleep)],
        "driver": {"max_active_learning_steps": 1200},
    }
    check_schedules(build_experiment(merge(BASE, content)))
    content["driver"] = {"max_active_learning_steps": 10**6}
    with pytest.raises(ConfigurationError, match="schedules in iteration 100000: .*lr must be"):
        check_schedules(build_experiment(merge(BASE, content)))


def test_a_run_with_a_mistake_makes_no_folder(new_run: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'batch_size'"):
        new_run(schedules=[at("training", {70_000: {"batchsize": 3}})])
    assert not (tmp_path / "runs").exists()


def test_keys_may_be_numbers_or_text() -> None:
    schedules = at("training", {0: {"batch_size": 8}, -1: {"batch_size": 4}})
    experiment = build_experiment(merge(BASE, {"schedules": schedules}))
    assert experiment.schedules[0].options["settings"] == {
        "0": {"batch_size": 8}, "-1": {"batch_size": 4},
    }  # fmt: skip
    refuses("0", at("training", {0: {"batch_size": 8}, "0": {"batch_size": 4}}))


def test_iteration_100_000() -> None:
    schedules = [
        adaptive("strategies", batch={"function": "linear", "start": 100, "slope": 50}),
        adaptive(
            "training",
            optimizer__options__lr=exponential(0.01, 0.9, floor=1e-6),
            batch_size=exponential(8, 1.5, cap=64),
        ),
        at("training", {0: {"max_training_epochs": 9}, 99: {"fine_tuning_lr": 0.5}}, hold=True),
    ]
    experiment = build_experiment(merge(BASE, {"schedules": schedules}))
    late = scheduled(experiment, build_schedules(experiment), 100_000, ())
    assert late.strategies.batch == 5_000_100
    assert late.training.optimizer.options["lr"] == 1e-6
    assert late.training.batch_size == 64
    assert late.training.fine_tuning_lr == 0.5
    assert late.training.max_training_epochs == 2, "the newest key only"
    assert late.schedules == experiment.schedules


def test_every_changeable_setting_is_one() -> None:
    experiment = build_experiment(BASE)
    for group, keys in CHANGEABLE.items():
        assert keys < set(type(getattr(experiment, group)).model_fields)


# In force in a run --------------------------------------------------------------------------------


def test_options_of_strategies_are_in_force_in_their_iteration(
    new_run: Any, drive: Any, component: Any, noisy: Any
) -> None:
    name, source = noisy

    class Counting:
        def __init__(self, size: int = 1) -> None:
            self.size = size

        def compute(self, context: Any) -> MetrologyRecord:
            return MetrologyRecord({"size": float(self.size)})

    class Enough:
        def __init__(self, labels: int) -> None:
            self.labels = labels

        def check(self, history: Any) -> StopDecision:
            return StopDecision(history[-1].labels >= self.labels, f"{self.labels} are enough")

    run = new_run(
        strategies={
            "query": [{"name": "margin", "n": 2}, {"name": "random", "n": 1}],
            "label": {"name": name},
            "metrology": {"name": component("metrology", Counting)},
        },
        stop=[{"name": component("stop", Enough), "options": {"labels": 99}}],
        schedules=[
            at("strategies.query", {1: {"margin": {"n": 4}}}),
            adaptive("strategies.label", options__noise=exponential(0.1, 0.5)),
            adaptive("strategies.metrology", options__size={"function": "linear", "start": 3,
                                                            "slope": 0.5}),
            at("stop", {2: {"options": {"labels": 11}}}),
        ],
        driver={"max_active_learning_steps": 9},
    )  # fmt: skip
    decision = drive.finish(run)
    assert decision.reason == "criterion met: 11 are enough"
    assert [len(run.ledger.selected(i)) for i in range(3)] == [3, 5, 3]
    assert [noise for noise, _ in source.asked] == [0.1, 0.05, 0.025]
    assert [values["size"] for values in run.ledger.metrology().values()] == [3.0, 4.0, 4.0]
    versions = {row.iteration: row.source_version for row in labels_of(run)}
    assert len(set(versions.values())) == 3, "another noise is another source"
    settings = [json.loads(row.settings)["strategies"] for row in run.ledger.commit_rows()]
    assert [s["query"][0]["n"] for s in settings] == [2, 4, 2]
    assert [s["label"]["options"]["noise"] for s in settings] == [0.1, 0.05, 0.025]


def labels_of(run: Run) -> list[Any]:
    from querist.ledger import tables as t

    where = (t.labels.c.run == run.ledger.db.run, t.labels.c.source != "initial")
    return run.ledger.db.rows(t.labels.select().where(*where))


def test_a_queue_style_strategy_that_is_built_anew_is_attached_to_the_run(
    new_run: Any, drive: Any, component: Any
) -> None:
    seen: list[tuple[int, int]] = []

    class First:
        def __init__(self, skip: int = 0) -> None:
            self.skip = skip

        def attach(self, driver: Any) -> None:
            self.driver = driver

        def sample(self, query_queue: Any) -> None:
            seen.append((self.driver.active_learning_step_idx, self.skip))
            query_queue.put(self.skip)

    run = new_run(
        strategies={"query": {"name": component("query", First), "n": 1}},
        schedules=[at("strategies.query", {1: {"options": {"skip": 3}}})],
    )
    drive.finish(run)
    assert seen == [(0, 0), (1, 3), (2, 0)]


def test_nothing_is_built_anew_whose_options_stay(new_run: Any, drive: Any, noisy: Any) -> None:
    name, source = noisy
    run = new_run(
        strategies={"label": {"name": name}},
        schedules=[at("strategies.query", {1: {"n": 2}}), static("training", {"batch_size": 8}),
                   at("strategies.label", {1: {"options": {"noise": 0.1}}}, hold=True)],
        driver={"max_active_learning_steps": 4},
    )  # fmt: skip
    before = list(source.built)
    drive.finish(run)
    assert source.built == [*before, 0.1]
    in_force = run.in_force(3)
    assert in_force.query[0][1] is run.strategies.query[0][1]
    assert in_force.metrology[0] is run.strategies.metrology[0]


def test_sources_that_are_not_needed_any_more_are_let_go_of(
    new_run: Any, drive: Any, noisy: Any
) -> None:
    run = new_run(
        strategies={"label": {"name": noisy[0]}},
        schedules=[adaptive("strategies.label", options__noise=exponential(0.1, 0.5))],
        driver={"max_active_learning_steps": 6},
    )
    drive.finish(run)
    assert list(run._sources) == [5]


@pytest.mark.parametrize("queue", ["ledger", "memory"])
@pytest.mark.parametrize("reopen", [False, True])
def test_a_pending_label_is_asked_of_the_source_that_was_asked_first(
    queue: str, reopen: bool, new_run: Any, drive: Any, noisy: Any
) -> None:
    name, source = noisy
    run = new_run(
        strategies={"label": {"name": name}, "queue": queue},
        schedules=[adaptive("strategies.label", options__noise=exponential(0.1, 0.5))],
    )
    source.limit = 2
    drive.iterate(run, 0)
    keys = {request.sample: request.key for request in run.ledger.requests()}
    first = run.ledger.selected(0).tolist()
    assert sorted(keys) == sorted(first[2:])
    if reopen:
        run = drive.reopened(run)
    source.limit = 10**9
    drive.iterate(run, 1)
    second = run.ledger.selected(1).tolist()
    assert source.asked == [(0.1, first), (0.1, first[2:]), (0.05, second)]
    rows = {row.sample: row for row in labels_of(run)}
    assert {sample: rows[sample].key for sample in keys} == keys
    versions = [{rows[sample].source_version for sample in asked} for asked in (first, second)]
    assert [len(v) for v in versions] == [1, 1]
    assert versions[0] != versions[1]
    assert run.ledger.open_requests() == []


def test_one_source_that_fails_does_not_keep_the_other_from_being_asked(
    new_run: Any, drive: Any, component: Any
) -> None:
    class Fails(Noisy):
        asked: list[Any] = []  # noqa: RUF012
        built: list[Any] = []  # noqa: RUF012
        limit = 1

        def label(self, request: Any) -> Iterator[Label]:
            yield from super().label(request)
            if self.noise == 0.1:
                raise ConnectionError("out of reach")

    run = new_run(
        strategies={"label": {"name": component("label", Fails)}, "label_attempts": 1},
        schedules=[at("strategies.label", {0: {"options": {"noise": 0.1}}})],
    )
    for iteration in range(2):
        drive.iterate(run, iteration)
    assert [len(samples) for _, samples in Fails.asked] == [5, 4, 5]
    assert len(labels_of(run)) == 3
    assert sorted(r.reason for r in run.ledger.open_requests())[0].startswith("ConnectionError")


def test_a_label_that_is_settled_belongs_to_the_source_that_was_asked(
    new_run: Any, drive: Any, component: Any
) -> None:
    from querist.errors import InDoubtError
    from querist.phases.settle import settle_value

    class Doubtful(Noisy):
        asked: list[Any] = []  # noqa: RUF012
        built: list[Any] = []  # noqa: RUF012

        def label(self, request: Any) -> Iterator[Label]:
            answers = list(super().label(request))
            yield from answers[:-1] if self.noise == 0.1 else answers
            if self.noise == 0.1:
                raise InDoubtError("was it bought?")

    run = new_run(
        strategies={"label": {"name": component("label", Doubtful)}},
        schedules=[at("strategies.label", {0: {"options": {"noise": 0.1}}})],
    )
    drive.iterate(run, 0)
    drive.iterate(run, 1)
    (doubtful,) = run.ledger.requests()
    settle_value(run, doubtful.sample, 1)
    versions = {row.sample: row.source_version for row in labels_of(run)}
    others = {versions[sample] for sample in run.ledger.selected(0).tolist()}
    assert others == {versions[doubtful.sample]}


def slower(iteration: int, history: Any, start: float) -> float:
    """Falls with every iteration that was good."""
    return start * 0.5 ** sum(result.metrics.get("f1", 0) > 0.1 for result in history)


def test_a_run_that_is_reopened_before_every_phase_ends_the_same(
    new_run: Any, drive: Any, component: Any, noisy: Any
) -> None:
    own = component("schedule_function", slower)
    changes = {
        "strategies": {"label": {"name": noisy[0]}},
        "training": {"reset_optimizer": False,
                     "optimizer": {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}}},
        "schedules": [
            adaptive("training", optimizer__options__lr={"function": own, "start": 0.2},
                     optimizer__options__momentum=exponential(0.9, 0.5),
                     batch_size=exponential(2, 2, cap=8)),
            adaptive("strategies.query", n={"function": "linear", "start": 2, "slope": 1}),
            adaptive("strategies.label", options__noise=exponential(0.1, 0.5)),
        ],
    }  # fmt: skip
    whole = new_run(**changes)
    drive.finish(whole)
    run = new_run(**changes)
    for iteration in range(3):
        for name in ("train", "metrology", "query", "label"):
            run = drive.reopened(run)
            getattr(phases, name)(run, iteration)
        run = drive.reopened(run)
        phases.commit_iteration(run, iteration)
    assert settings_of(drive.content(run)) == settings_of(drive.content(whole))
    assert drive.content(run) == drive.content(whole)
    rates = [s["training"]["optimizer"]["options"]["lr"] for s in settings_of(drive.content(run))]
    assert rates == [0.2, 0.1, 0.05]


@pytest.mark.parametrize("kill", ["train.epoch:9", "query.recorded:2", "label.stored:20"])
def test_a_run_that_is_killed_ends_the_same(kill: str, own_process: Any, tmp_path: Path) -> None:
    curve = {"function": "step", "start": 0.2, "factor": 0.5, "every": 1}
    changes = {
        "schedules": [
            adaptive("training", optimizer__options__lr=curve),
            adaptive("strategies", batch={"function": "linear", "start": 4, "slope": 3}),
        ]
    }
    labs = [Lab(tmp_path / name, own_process) for name in ("whole", "killed")]
    for lab in labs:
        lab.folder.mkdir()
        lab.write(**changes)
    whole, killed = labs
    assert whole() == 0
    assert killed(kill) == -signal.SIGKILL
    assert killed() == 0
    assert outcome(killed.run) == outcome(whole.run)
    assert len(killed.asked) == 4 + 7 + 10


def settings_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(settings) for settings in content["settings"]]


def test_scheduled_options_of_the_optimizer_hold_though_its_state_is_kept(
    new_run: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from querist.training import steps

    used: list[float] = []
    real = steps.bare_step

    def noting(optimizer: Any) -> Any:
        used.append(optimizer.param_groups[0]["momentum"])
        return real(optimizer)

    monkeypatch.setattr(steps, "bare_step", noting)
    options = {"lr": 0.1, "momentum": 0.9}
    run = new_run(
        training={"reset_optimizer": False, "max_training_epochs": 1,
                  "optimizer": {"name": "SGD", "options": options}},
        schedules=[adaptive("training", optimizer__options__momentum=exponential(0.8, 0.5))],
    )  # fmt: skip
    drive.finish(run)
    assert used == [0.8, 0.4, 0.2]


# Told to the tracker ------------------------------------------------------------------------------


def metrics(run: Run) -> dict[int, dict[str, float]]:
    events = TrackingSpool(run.reference.folder).events()
    return {
        e.payload["step"]: {k: v for k, v in e.payload["values"].items() if "setting." in k}
        for e in events
        if e.kind == "metrics" and "by labels" not in str(e.once)
    }


def test_scheduled_numbers_are_metrics(new_run: Any, drive: Any) -> None:
    run = new_run(
        tracking={"enabled": True, "uri": "http://127.0.0.1:9"},
        schedules=[
            adaptive("training", optimizer__options__lr=exponential(0.1, 0.5)),
            at("training", {1: {"batch_size": 8, "warm_start": False}}),
            at("strategies.query", {2: {"margin": {"n": 3}}}),
        ],
    )
    track_start(run)
    drive.finish(run)
    name = "setting.training.optimizer.options.lr"
    told = metrics(run)
    assert [told[i][name] for i in range(3)] == [0.1, 0.05, 0.025]
    assert [told[i]["setting.training.batch_size"] for i in range(3)] == [16, 8, 16]
    assert [told[i]["setting.strategies.query.margin.n"] for i in range(3)] == [5, 5, 3]
    assert all(len(values) == 3 for values in told.values()), "a flag is no number"


def test_without_schedules_there_are_no_such_metrics(new_run: Any, drive: Any) -> None:
    run = new_run(tracking={"enabled": True, "uri": "http://127.0.0.1:9"})
    track_start(run)
    drive.iterate(run, 0)
    assert metrics(run) == {0: {}}
    assert run.ledger.phase_outcome(0, Phase.TRAIN) is not None


def test_a_schedule_that_foresees_nothing_is_tracked_where_it_speaks(
    new_run: Any, drive: Any, component: Any
) -> None:
    class Own:
        def settings(self, iteration: int, history: Any) -> dict[str, Any]:
            return {"batch_size": 8} if iteration == 1 else {}

    run = new_run(
        tracking={"enabled": True, "uri": "http://127.0.0.1:9"},
        schedules=[{"name": component("schedule", Own), "group": "training"}],
    )
    track_start(run)
    drive.finish(run)
    assert metrics(run) == {0: {}, 1: {"setting.training.batch_size": 8}, 2: {}}
