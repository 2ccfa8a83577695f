from __future__ import annotations

import json
import math
import shutil
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from querist import phases
from querist.errors import ConfigurationError
from querist.pools import TensorPool
from querist.runs.stop_set import STOP_SET, wanted_size
from querist.values import Phase
from tests.shared.killed import Lab, outcome

STABILITY: dict[str, Any] = {"metrology": ["f1", {"name": "stability", "options": {"size": 30}}]}
NAMES = ("overall_uncertainty", "kappa", "classification_change", "delta_f")


def stability(run: Any) -> list[list[str]]:
    """What was measured, to the last bit; NaN is like NaN."""
    return [[float(v[name]).hex() for name in NAMES] for v in run.ledger.metrology().values()]


def points(n: int = 60) -> TensorPool:
    features = torch.linspace(-1, 1, 2 * n).reshape(n, 2)
    return TensorPool(features, torch.arange(n) % 2)


def files(run: Any) -> list[str]:
    return sorted(path.name for path in (run.reference.folder / STOP_SET).iterdir())


def test_the_stop_set_is_drawn_once_from_what_is_not_held_back(new_run: Any, drive: Any) -> None:
    run = new_run(strategies=STABILITY)
    assert len(run.ledger.subset("test")) == 0, "this pool brings its own"
    drawn = run.ledger.subset(STOP_SET)
    assert len(drawn) == len(drawn.unique()) == 30
    allowed = torch.cat([run.data.queryable, run.data.initial])
    assert bool(torch.isin(drawn, allowed).all())
    other = new_run(strategies=STABILITY)
    assert other.ledger.subset(STOP_SET).tolist() == drawn.tolist(), "seeded"
    third = new_run(strategies=STABILITY, seed=5)
    assert third.ledger.subset(STOP_SET).tolist() != drawn.tolist()
    drive.iterate(run, 0)
    assert drive.reopened(run).ledger.subset(STOP_SET).tolist() == drawn.tolist()


def test_what_is_held_back_is_never_in_it(new_run: Any, component: Any) -> None:
    run = new_run(
        data={"pool": {"name": component("pool", points), "options": {}},
              "split": {"test": 0.3, "validation": 0.2}},
        strategies={"metrology": ["f1", "stability"]},
    )  # fmt: skip
    held_back = torch.cat([run.ledger.subset("test"), run.ledger.subset("validation")])
    assert len(held_back) == len(run.ledger.subset(STOP_SET)) == 30
    assert not bool(torch.isin(run.ledger.subset(STOP_SET), held_back).any())


def test_a_pool_that_is_smaller_gives_all_it_has(new_run: Any) -> None:
    run = new_run(strategies={"metrology": ["f1", "stability"]})
    everything = torch.cat([run.data.queryable, run.data.initial])
    assert sorted(run.ledger.subset(STOP_SET).tolist()) == sorted(everything.tolist())


def test_nobody_asks_nobody_predicts(new_run: Any, drive: Any) -> None:
    run = new_run()
    assert wanted_size(run.strategies.metrology) == 0
    drive.iterate(run, 0)
    assert not (run.reference.folder / STOP_SET).exists()
    assert len(run.ledger.subset(STOP_SET)) == 0


def test_the_first_iteration_has_nothing_to_compare_with(new_run: Any, drive: Any) -> None:
    run = new_run(strategies=STABILITY)
    drive.finish(run)
    measured = run.ledger.metrology()
    assert all(math.isnan(measured[0][name]) for name in NAMES[1:])
    assert all(math.isfinite(measured[i][name]) for i in (1, 2) for name in NAMES[:1] + NAMES[2:3])
    records = json.loads((run.reference.folder / "metrology.json").read_text())
    assert records[0]["kappa"] is None
    log = (run.reference.folder / "driver_log.json").read_text()
    assert "NaN" not in log
    assert files(run) == ["step_0001.npy", "step_0002.npy"]


def test_what_is_compared_are_the_models_of_successive_iterations(new_run: Any, drive: Any) -> None:
    run = new_run(strategies=STABILITY)
    features = run.data.pool.features(run.ledger.subset(STOP_SET))
    classes = []
    for iteration in range(3):
        drive.iterate(run, iteration)
        classes.append(run.learner.predict(features))
    changes = [v["classification_change"] for v in run.ledger.metrology().values()]
    assert changes[1:] == [float((a != b).double().mean()) for a, b in pairwise(classes)]


@pytest.mark.parametrize("phase", list(Phase))
def test_a_resumed_run_measures_the_same(new_run: Any, drive: Any, phase: Phase) -> None:
    driver = {"max_active_learning_steps": 4}
    whole = new_run(strategies=STABILITY, driver=driver)
    drive.finish(whole)
    run = new_run(strategies=STABILITY, driver=driver)
    for iteration in range(4):
        for done in phases.pending_phases(run, iteration):
            getattr(phases, done.value)(run, iteration)
            if done is phase:
                run = drive.reopened(run)
        phases.commit_iteration(run, iteration)
    assert stability(run) == stability(whole)
    assert drive.content(run)["checkpoints"] == drive.content(whole)["checkpoints"]


def test_a_measurement_that_was_cut_off_is_done_again(
    new_run: Any, drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there, and nothing of it is in the ledger."""
    whole = new_run(strategies=STABILITY)
    drive.finish(whole)
    run = new_run(strategies=STABILITY)
    drive.iterate(run, 0)
    phases.train(run, 1)

    def refuse(*args: Any, **more: Any) -> None:
        raise RuntimeError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(run.ledger, "record_metrology", refuse)
        with pytest.raises(RuntimeError, match="cut off"):
            phases.metrology(run, 1)
    assert files(run) == ["step_0000.npy", "step_0001.npy"]
    run = drive.reopened(run)
    drive.finish(run)
    assert stability(run) == stability(whole)


def test_a_killed_run_measures_the_same(lab: Lab, tmp_path: Path) -> None:
    """SIGKILL before, between and after the file and its row; each resume is killed again."""
    whole = Lab(tmp_path / "whole", lab.context)
    for place in (whole, lab):
        place.folder.mkdir(exist_ok=True)
        place.write(strategies=STABILITY)
    assert whole() == 0
    for kill in ("file.beside:2", "metrology.measured:1", "metrology.recorded:2", "train.fitted"):
        assert lab(kill) == -signal.SIGKILL
    assert lab() == 0
    assert outcome(lab.run) == outcome(whole.run)
    kept = [sorted((place.run / STOP_SET).iterdir()) for place in (whole, lab)]
    assert [[f.read_bytes() for f in files] for files in kept[:1]] == [
        [f.read_bytes() for f in files] for files in kept[1:]
    ]
    assert [f.name for f in kept[0]] == ["step_0001.npy", "step_0002.npy"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def swap(path: Path) -> None:
    """A whole file, of other predictions."""
    shutil.copy(path.with_name("step_0000.npy"), path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip, "does not have the SHA-256 of the ledger"),
        (swap, "does not have the SHA-256 of the ledger"),
        (lambda path: path.write_bytes(b""), "does not have the SHA-256"),
        (lambda path: shutil.rmtree(path.parent), "cannot be read"),
    ],
)
@pytest.mark.parametrize("interval", [0, 1])
def test_a_damaged_file_is_computed_anew(
    new_run: Any, drive: Any, damage: Callable[[Path], Any], words: str, interval: int
) -> None:
    driver = {"max_active_learning_steps": 4, "checkpoint_interval": interval}
    whole = new_run(strategies=STABILITY, driver=driver)
    drive.finish(whole)
    run = new_run(strategies=STABILITY, driver=driver)
    for iteration in (0, 1):
        drive.iterate(run, iteration)
    damage(run.reference.folder / STOP_SET / "step_0001.npy")
    run = drive.reopened(run)
    drive.finish(run)
    assert stability(run) == stability(whole)
    assert drive.content(run)["checkpoints"] == drive.content(whole)["checkpoints"]
    assert words in (run.reference.folder / "console.log").read_text()


def test_what_a_kill_left_beside_is_cleared(new_run: Any, drive: Any) -> None:
    run = new_run(strategies=STABILITY)
    drive.iterate(run, 0)
    (run.reference.folder / STOP_SET / ".tmp-step_0000.npy").write_bytes(b"half")
    drive.iterate(run, 1)
    assert files(run) == ["step_0000.npy", "step_0001.npy"]


def test_no_test_set_is_needed(new_run: Any, drive: Any, component: Any) -> None:
    run = new_run(
        strategies={"metrology": "stability"},
        data={"pool": {"name": component("pool", points), "options": {}}, "split": {"test": 0}},
        stop={"name": "classification_change", "options": {"threshold": 1.0}},
    )
    assert run.data.test is None
    assert drive.finish(run).reason.startswith("criterion met: classification_change ")


def numbers(n: int = 40) -> TensorPool:
    features = torch.arange(2.0 * n).reshape(n, 2)
    return TensorPool(features, features.sum(1))


def test_numbers_have_no_stop_set(new_run: Any, component: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs samples of classes, and the targets"):
        new_run(
            data={"pool": {"name": component("pool", numbers), "options": {}},
                  "initial": {"count": 10, "stratify": False}},
            strategies={"metrology": "stability"},
        )  # fmt: skip


def test_a_run_stops_by_stabilizing_predictions(new_run: Any, drive: Any) -> None:
    run = new_run(
        strategies=STABILITY,
        training={"max_training_epochs": 60, "max_fine_tuning_epochs": 5},
        stop={"name": "stabilizing_predictions", "options": {"threshold": 0.5, "window": 2}},
        driver={"max_active_learning_steps": 12},
    )
    decision = drive.finish(run)
    kappa = [r.metrics["kappa"] for r in run.history()]
    assert decision.reason.startswith("criterion met: kappa "), decision
    assert 2 < len(kappa) < 12
    assert sum(kappa[-2:]) >= 1.0
    assert drive.reopened(run).ledger.fact("stop_reason") == decision.reason
