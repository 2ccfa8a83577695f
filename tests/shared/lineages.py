"""Registered models, retrained by processes that may die: what must not depend on that."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from querist.ledger.models import ModelLedger, Promotion
from querist.tracking.spool import TrackingSpool

PATIENCE = 120.0
MODEL = "moons"
_ROWS = (
    "select item, digest, subset, retraining from items order by 1",
    "select item, value, metadata, retraining from answers order by 4, 1",
    "select retraining, key, \"window\", fingerprint, settings from retrainings order by 1",
    "select version, parent, fingerprint, settings, checkpoint from versions order by 1",
)
_FILES = ("settings.yaml", "verdict.md", "input_example.npy", "output_example.npy")
_OWN = {"made", "comparison", "seconds", "samples_per_second", "captured"}
"""What a second try of a step may say otherwise: when it was, how long it took, under which number,
and whether it took enough steps for one to be captured."""


@dataclass(frozen=True)
class End:
    """Everything about a registered model that may not depend on how often it was interrupted.

    Attributes:
        ledger: items, answers, retrainings and versions, row by row.
        steps: what each step of each retraining gave.
        history: who became champion, with the evidence of each event.
        files: SHA-256 of settings, weights, verdicts and examples.
        left: files that nothing names any more.
        told: what the tracker hears, by name, for each version.
        registry: the last that the tracker hears of champion and challenger.
    """

    ledger: list[list[tuple[Any, ...]]]
    steps: list[tuple[Any, ...]]
    history: list[Any]
    files: dict[str, str]
    left: list[str]
    told: dict[str, list[str]]
    registry: dict[str, Any]


@dataclass(frozen=True)
class Shelf:
    """A place in which one registered model is retrained by processes that may die.

    Attributes:
        folder: where its items and its versions are.
        context: starts the processes.
    """

    folder: Path
    context: ForkServerContext

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.folder / "models" / MODEL

    def __call__(self, crash: str = "", **more: Any) -> int:
        """Do what is left of all three windows in a process of its own; returns its exit code."""
        work = import_module("retrained").work
        process: Any = self.context.Process(
            target=work, args=(str(self.folder), crash), kwargs=more
        )
        process.start()
        process.join(PATIENCE)
        assert process.exitcode is not None, "it hangs"
        return int(process.exitcode)

    def end(self, url: str = "") -> End:
        """How it has ended. Paths are below the folder, so that two places can be compared."""
        ledger = ModelLedger(url or self.model / "ledger.db", MODEL)
        try:
            check_history(ledger)
            return End(
                ledger=_rows(ledger, str(self.folder)),
                steps=_steps(ledger, str(self.folder)),
                history=[_event(ledger, event) for event in ledger.promotions()],
                files=_files(self.model),
                left=[str(p) for p in self.model.rglob("*") if p.name.startswith((".tmp", "part"))],
                told=_told(self.model),
                registry=last_told(self.model),
            )
        finally:
            ledger.close()


def _rows(ledger: ModelLedger, folder: str) -> list[list[tuple[Any, ...]]]:
    from sqlalchemy import text

    found = []
    with ledger.db.engine.connect() as connection:
        for query in _ROWS:
            head, order, tail = query.partition(" order by")
            answer = connection.execute(
                text(f"{head} where run = :run{order}{tail}"), {"run": ledger.db.run}
            )
            found.append([tuple(str(v).replace(folder, "") for v in row) for row in answer])
    # The key and the fingerprint are digests of settings, in which the folder is.
    found[2] = [row[:1] + row[2:3] + row[4:] for row in found[2]]
    return found


def _steps(ledger: ModelLedger, folder: str) -> list[tuple[Any, ...]]:
    steps = import_module("retrained").STEPS
    found = []
    for number in (1, 2, 3):
        for step in steps:
            done = ledger.step(number, step)
            assert done is not None, f"{step} of retraining {number} was not done"
            kept = {k: v for k, v in done.items() if k not in _OWN}
            found.append((number, step, json.dumps(kept, sort_keys=True).replace(folder, "")))
    return found


def _event(ledger: ModelLedger, event: Promotion) -> Any:
    about = {k: v for k, v in vars(event).items() if k not in _OWN}
    return about, None if event.comparison is None else ledger.comparison(event.comparison)


def check_history(ledger: ModelLedger) -> None:
    """Every promotion has its evidence, and each champion follows the one before.

    Raises:
        AssertionError: the history of champions is not what it must be.
    """
    events = ledger.promotions()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    champion = None
    for event in events:
        assert event.champion_before == champion, f"{event}: the chain is broken"
        champion = event.champion
        if event.event == "rolled-back":
            continue
        if event.reason.startswith("superseded"):
            assert (event.event, event.champion) == ("discarded", event.champion_before)
            continue
        assert event.comparison is not None, f"{event}: there is no evidence"
        evidence = ledger.comparison(event.comparison)
        assert evidence["challenger"] == event.version
        assert evidence["champion"] == event.champion_before
        assert evidence["promote"] is (event.event == "promoted"), f"{event}: {evidence}"
        assert event.champion == (event.version if evidence["promote"] else event.champion_before)
        assert event.version != event.champion_before, f"{event}: against itself"
    assert ledger.champion() == champion


def _files(model: Path) -> dict[str, str]:
    found = [f for f in (model / "versions").rglob("*") if f.is_file()]
    kept = [f for f in found if f.name in _FILES or f.parent.name.startswith("step_")]
    return {
        str(f.relative_to(model)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(kept)
    }


def _told(model: Path) -> dict[str, list[str]]:
    return {
        folder.name: sorted(
            event.once or event.kind
            for event in TrackingSpool(folder).events()
            # Its file has the verdict's number, which may be another one.
            if "verdict.json" not in (event.once or "")
        )
        for folder in sorted((model / "versions").iterdir())
    }


def last_told(model: Path) -> dict[str, Any]:
    """What the registry in the tracker follows: the newest that is said, in whichever spool."""
    said = [
        dict(event.payload)
        for folder in sorted((model / "versions").iterdir())
        for event in TrackingSpool(folder).events()
        if event.kind == "registry"
    ]
    newest = max(said, key=lambda payload: int(payload["sequence"]))
    del newest["ledger"]  # another one for each model
    return newest

