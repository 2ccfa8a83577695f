"""A registered model retrained in a process of its own, for tests that kill it. On the import path.

Its items come in three instalments, each in a window of its own. The first version becomes
champion, the second takes its place, and the third, which learns from wrong labels, is discarded.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from interrupted import _die_after

from examples.two_moons.data import sample_moons
from examples.two_moons.model import MoonClassifier
from querist.config.load import merge
from querist.config.retraining import Retraining
from querist.errors import RunError, RunLockedError
from querist.faults import crash_at
from querist.lineage import LineageReference, open_lineage
from querist.randomness import seeded_globally
from querist.retraining.compare import show
from querist.retraining.pull import Pulled, pull
from querist.retraining.steps import STEPS, carry_out, compare_versions, go_back, let_go
from querist.runs.open import LEDGER_VARIABLE

MODEL = "moons"
WINDOWS: Mapping[str, int] = {"monday": 60, "tuesday": 100, "wednesday": 220}
"""Windows, and how many items there are then."""
WRONG_FROM = 100
"""Labels from this item on are wrong, unless they are held back for the test."""
RETRAINING: dict[str, Any] = {
    "model": MODEL,
    "seed": 7,
    "data": {
        "source": {"name": "files", "options": {"folder": "items", "classes": 2}},
        "split": {"subsets": {"train": 0.7, "test": 0.3}},
    },
    "learner": {"name": "examples.two_moons.model:MoonClassifier", "options": {"hidden": 4}},
    "training": {
        "loss": "bce_with_logits",
        "optimizer": {"name": "SGD", "options": {"lr": 0.2}},
        "max_training_epochs": 6,
        "max_fine_tuning_epochs": 6,
        "checkpoint_epochs": 2,
    },
    "metrology": "f1",
    "compare": {"checks": [{"metric": "log_loss", "min_delta": 0.001}]},
}


class Nowhere(MoonClassifier):
    """A model that can be trained, and says NaN of everything when it is asked."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Logits while it is trained, else NaN."""
        logits: torch.Tensor = super().forward(points)
        return logits if self.training else logits * float("nan")


def settings_of(folder: Path, **changes: Any) -> Retraining:
    """The retraining, with groups changed."""
    place = {"root_log_dir": str(folder / "models"), "data": {"source": {"options": {
        "folder": str(folder / "items"), "classes": 2}}}}  # fmt: skip
    return Retraining.model_validate(merge(merge(RETRAINING, place), changes))


def grow(folder: Path, count: int) -> None:
    """Have so many items in the folder that the model learns from."""
    most = max(WINDOWS.values())
    with seeded_globally(5):
        points, classes = sample_moons(most, rare_share=0.5, noise=0.25)
        order = torch.randperm(most)
    points, classes = points[order], classes[order]
    lines = []
    for i, (point, label) in enumerate(zip(points.tolist(), classes.tolist(), strict=True)):
        where = "test" if i % 4 == 0 else "train"
        wrong = i >= WRONG_FROM and where == "train"
        lines.append(
            {
                "id": f"item {i}",
                "label": 1 - label if wrong else label,
                "features": point,
                "metadata": {"system": {"tags": {where: True}}},
            }
        )
    items = folder / "items"
    items.mkdir(parents=True, exist_ok=True)
    beside = items / f"{os.getpid()}.beside"
    beside.write_text("".join(f"{json.dumps(line)}\n" for line in lines[:count]))
    beside.replace(items / "items.jsonl")


def retrain(settings: Retraining, window: str, until: str = "promote") -> Pulled:
    """A retraining up to a step, without Prefect; nothing where there is nothing to learn.

    Raises:
        RunLockedError: another process retrains the model.
    """
    pulled = pull(settings, window)
    try:
        if pulled.retraining is not None:
            for step in list(STEPS)[: list(STEPS).index(until) + 1]:
                carry_out(pulled.lineage, step, pulled.retraining)
    finally:
        let_go(pulled.lineage, to_retrain=True)
    return pulled


def work(
    folder: str,
    crash: str = "",
    *,
    die_after: float | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    """All three windows, killed at a named point, or some time after the start."""
    torch.set_num_threads(1)
    os.environ.update(variables or {})
    os.chdir(folder)
    crash_at(crash or None)
    if die_after is not None:
        _die_after(die_after)
    settings = settings_of(Path(folder))
    for window, count in WINDOWS.items():
        grow(Path(folder), count)
        retrain(settings, window)
    sys.exit(0)


def fire(
    folder: str, window: str, changes: Mapping[str, Any], meet: Any, told: Any, crash: str = ""
) -> None:
    """A schedule fires: retrain as the flow does, in its turn or not at all; says what came of it.

    Args:
        folder: where the items and the model are.
        window: the time of the schedule.
        changes: groups of the settings that are others.
        meet: a barrier for those who fire at once.
        told: a connection to whoever wants to know: (version or None, words).
        crash: where to die.
    """
    torch.set_num_threads(1)
    settings = settings_of(Path(folder), **changes)
    crash_at(crash or None)
    meet.wait(60)
    while True:
        try:
            pulled = retrain(settings, window)
        except RunLockedError as busy:
            if settings.busy == "skip":
                told.send((None, f"skipped: {busy}"))
                return
            time.sleep(0.02)
        else:
            told.send((pulled.retraining, pulled.reason))
            return


def put_to_the_gate(folder: str, version: int, url: str, meet: Any, told: Any) -> None:
    """Compare a version with the champion and act on it, at the same time as another process.

    Args:
        folder: where the model is.
        version: the challenger; 0 = roll back instead.
        url: the ledger's database; empty = a file.
        meet: a barrier for those who do it at once.
        told: a connection to whoever wants to know: the event, or what refused it.
    """
    torch.set_num_threads(1)
    os.environ.pop(LEDGER_VARIABLE, None)
    if url:
        os.environ[LEDGER_VARIABLE] = url
    reference = LineageReference(model=MODEL, root=Path(folder) / "models")
    meet.wait(60)
    try:
        if version:
            done = compare_versions(reference, version, None, act=True)
        else:
            done = go_back(reference, "the test wants it", None)
        told.send(done)
    except RunError as refused:  # it is champion already, or there is nothing to go back to
        told.send({"refused": str(refused)})
    finally:
        let_go(reference, to_retrain=False)


def show_again(folder: str, version: int, times: int, meet: Any) -> None:
    """Write a version's verdict so many times, at the same time as another process."""
    torch.set_num_threads(1)
    reference = LineageReference(model=MODEL, root=Path(folder) / "models")
    lineage = open_lineage(reference, to_retrain=False)
    done = lineage.ledger.step(version, "compare")
    assert done is not None
    meet.wait(60)
    for _ in range(times):
        show(lineage, version, done)
    let_go(reference, to_retrain=False)
