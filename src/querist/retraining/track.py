"""What the tracker hears of a version: its run, its curves, its model, and who is champion.

Each version has a spool of its own, in its folder, and is one run in the tracker. Everything is
said from the ledger and has a name (`once`), so that saying it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from querist.config.retraining import Retraining
from querist.ledger.models import DISCARDED, PROMOTED, ROLLED_BACK
from querist.lineage import Lineage
from querist.lineage.lineage import SETTINGS_FILE
from querist.retraining.chosen import test_items
from querist.retraining.model import learner_of
from querist.retraining.source import open_source
from querist.runs.curves import append_curve, training_metrics
from querist.runs.tracking import (
    EXAMPLE_ROWS,
    FINAL_MODEL,
    INPUT_EXAMPLE,
    OUTPUT_EXAMPLE,
    append_file,
    code_version,
    flat_parameters,
    tracking_address,
    write_examples,
)
from querist.runs.tracking import (
    track_end as track_end_in,
)
from querist.storage.plain import digest_of
from querist.tracking.spool import TrackingSpool
from querist.training.curve import rows_of, thinned
from querist.values import Task


def track_version(lineage: Lineage, version: int) -> None:
    """Introduce a version that is trained: its run, its curves, and its model."""
    settings = lineage.settings(version)
    if not settings.tracking.enabled:
        return
    made = lineage.ledger.step(version, "new_version") or {}
    with spool_of(lineage, version) as spool:
        if spool.status not in ("RUNNING", "FINISHED"):
            _introduce(lineage, spool, settings, version, made)
        _curve(lineage, spool, settings, version)
        _model(lineage, spool, settings, version)
        _register(lineage, spool, version, made)
    track_registry(lineage, version, challenger=version)


@contextmanager
def spool_of(lineage: Lineage, version: int) -> Iterator[TrackingSpool]:
    """A version's spool, closed at the end."""
    spool = TrackingSpool(lineage.version_folder(version))
    try:
        yield spool
    finally:
        spool.close()


def _curve(lineage: Lineage, spool: TrackingSpool, settings: Retraining, version: int) -> None:
    """The curve of the version's training, and where its time went."""
    trained = lineage.ledger.step(version, "train") or {}
    points = settings.tracking.training_curves
    rows = rows_of(trained.get("curve") or [])
    if rows and points:
        append_curve(spool, "curve", thinned(rows, points))
    spent = training_metrics(trained)
    if spent:
        spool.append("metrics", once="training", step=version, values=spent)


def _register(
    lineage: Lineage, spool: TrackingSpool, version: int, made: Mapping[str, Any]
) -> None:
    """The version among those of the registered model, with where it comes from."""
    parent = made.get("parent")
    tags = {
        "querist.parent": "" if parent is None else str(parent),
        "querist.base": made.get("base", ""),
        "querist.data_fingerprint": made.get("fingerprint", ""),
        "querist.configuration": digest_of(made.get("settings")),
        "querist.trained_on": str(made.get("trained_on", "")),
    }
    spool.append(
        "version",
        once=f"version {version}",
        model=FINAL_MODEL,
        name=lineage.reference.model,
        version=version,
        tags=tags,
        ledger=lineage.identity(),
    )


def _introduce(
    lineage: Lineage, spool: TrackingSpool, settings: Retraining, version: int, made: dict[str, Any]
) -> None:
    uri, artifact_root = tracking_address(settings.tracking, lineage.reference.root)
    model = lineage.reference.model
    retraining = lineage.ledger.retraining(version)
    spool.append(
        "start",
        uri=uri,
        artifact_root=artifact_root,
        experiment=settings.tracking.experiment or model,
        run_name=lineage.reference.version_name(version),
        params={
            **flat_parameters(made.get("settings")),
            **flat_parameters(settings.compare.model_dump(mode="json"), "compare"),
            **flat_parameters(settings.data.model_dump(mode="json"), "data"),
        },
        tags={
            "querist.model": model,
            "querist.model_version": str(version),
            "querist.window": retraining.window,
            "querist.version": version_of("querist"),
            "querist.code": code_version(),
            "querist.base": made.get("base"),
            "querist.data_fingerprint": made.get("fingerprint"),
        },
        dataset={
            "name": settings.data.source.name,
            "digest": str(made.get("fingerprint"))[:16],
            "size": made.get("trained_on"),
            "classes": None,
            "features": [],
        },
    )
    append_file(spool, SETTINGS_FILE)


def _model(lineage: Lineage, spool: TrackingSpool, settings: Retraining, version: int) -> None:
    """The version's model with an example of its inputs, from the test items."""
    once = f"model {FINAL_MODEL}"
    if spool.has(once):
        return
    folder = lineage.version_folder(version)
    answers = lineage.ledger.answers(through=version)
    ids = test_items(lineage, lineage.version_settings(version), answers)[:EXAMPLE_ROWS]
    features = open_source(lineage, settings).features(ids)
    learner = learner_of(lineage, version)
    classify = learner.task is Task.CLASSIFICATION
    outputs = learner.predict_proba(features) if classify else learner.predict(features)
    write_examples(folder, features, outputs)
    spool.append(
        "model",
        once=once,
        checkpoint=str(lineage.checkpoints(version).path(version).relative_to(folder)),
        experiment_file=SETTINGS_FILE,
        input_example=INPUT_EXAMPLE,
        output_example=OUTPUT_EXAMPLE,
        name=FINAL_MODEL,
        step=version,
    )


def track_evaluation(lineage: Lineage, version: int, outcome: dict[str, Any]) -> None:
    """What was measured of the version, and of the champion on the same items."""
    values = {f"test.{name}": value for name, value in outcome["metrics"].items()}
    old = outcome["champion_metrics"] or {}
    values |= {f"test.champion.{name}": value for name, value in old.items()}
    tags = {"querist.test_digest": outcome["test_digest"]}
    with spool_of(lineage, version) as spool:
        if spool.status is None:
            return
        if values:
            spool.append("metrics", once="evaluation", step=version, values=values)
        spool.append("tags", once="test digest", values=tags)


def track_verdict(lineage: Lineage, version: int, files: tuple[str, ...]) -> None:
    """The verdict's files."""
    with spool_of(lineage, version) as spool:
        if spool.status is not None:
            for path in files:
                append_file(spool, path, str(Path(path).parent) if "/" in path else None)


def track_registry(
    lineage: Lineage, version: int, challenger: int | None = None, *, again: bool = False
) -> None:
    """Say in a version's spool who is champion and who challenger, as the ledger has it now.

    The registry in the tracker follows the newest of these, whichever spool it is in.

    Args:
        lineage: the registered model.
        version: in whose spool it is said.
        challenger: a version that waits for its verdict; None when none does.
        again: say it though it was said: somebody may have changed the registry.
    """
    events = lineage.ledger.promotions()
    settled = {e.version for e in events if e.event in (PROMOTED, DISCARDED)}
    waits = challenger is not None and challenger not in settled
    # A challenger that waits comes after what was decided last, and before what is decided next.
    sequence = 2 * len(events) + waits
    with spool_of(lineage, version) as spool:
        if spool.status is None:
            return
        spool.append(
            "registry",
            once=None if again else f"registry {sequence} {challenger if waits else ''}",
            name=lineage.reference.model,
            sequence=sequence,
            champion=events[-1].champion if events else None,
            challenger=challenger if waits else None,
            tags=_tags_of(events, version),
            ledger=lineage.identity(),
        )


def _tags_of(events: list[Any], version: int) -> dict[str, dict[str, str]]:
    """What the registry says of a version: what became of it, and why."""
    about = [e for e in events if e.version == version]
    if not about:
        return {}
    names = {PROMOTED: "promoted", DISCARDED: "discarded", ROLLED_BACK: "rolled back to"}
    last = about[-1]
    said = {str(version): names[last.event]}
    if last.event == ROLLED_BACK and last.champion_before is not None:
        said[str(last.champion_before)] = "rolled back from"
    return {
        which: {"querist.verdict": words, "querist.reason": last.reason}
        for which, words in said.items()
    }


def track_end(lineage: Lineage, version: int, outcome: dict[str, Any]) -> None:
    """How the retraining ended."""
    tags = {"querist.verdict": outcome["event"], "querist.reason": outcome["reason"]}
    track_end_in(lineage.version_folder(version), "FINISHED", **tags)
