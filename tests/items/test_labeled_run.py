from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from querist.errors import RunNotFoundError
from querist.items.labeled_run import LabeledRun
from querist.items.split import tag_of
from querist.ledger import INITIAL, Source
from querist.values import Label
from tests.shared.runs import drive, experiment, new_run

__all__ = ["drive", "experiment", "new_run"]


def read(root: Path) -> dict[str, Any]:
    return {item.id: item for item in LabeledRun("labels", root=str(root)).items()}


def test_what_is_labeled_grows_and_what_is_held_back_is_tagged(
    new_run: Callable[..., Any], drive: Any, tmp_path: Path
) -> None:
    run = new_run("labels", data={"split": {"validation": 0.1}})
    before = read(tmp_path / "runs")
    assert Counter(tag_of(item.metadata) for item in before.values()) == {
        None: 10, "test": len(run.data.test), "validation": 6,
    }  # fmt: skip
    assert tag_of(before["test:0"].metadata) == "test", "the pool brings this set itself"
    drive.iterate(run, 0)
    after = read(tmp_path / "runs")
    assert len(after) == len(before) + 5
    assert {name: after[name] for name in before} == before


def test_labels_are_those_that_the_run_learns_from(
    new_run: Callable[..., Any], drive: Any, tmp_path: Path
) -> None:
    run = new_run("labels")
    drive.iterate(run, 0)
    labeled = run.data.labeled(run.ledger)
    expected = dict(zip(map(str, labeled.indices.tolist()), labeled.targets.tolist(), strict=True))
    found = read(tmp_path / "runs").items()
    assert {name: i.label for name, i in found if tag_of(i.metadata) is None} == expected


def test_a_contradiction_that_was_decided_comes_as_it_is_now(
    new_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = new_run("labels")
    before = next(i for i in read(tmp_path / "runs").values() if tag_of(i.metadata) is None)
    other = Label(int(before.id), 1 - before.label)
    run.ledger.record_label(other, source=Source(INITIAL), iteration=0)
    assert read(tmp_path / "runs")[before.id].label == before.label, "nobody has decided"
    [revision] = run.ledger.revisions_for_review()
    run.ledger.decide_revision(revision, other.value)
    assert read(tmp_path / "runs")[before.id].label == other.value


def test_reading_leaves_the_run_to_whoever_holds_it(
    new_run: Callable[..., Any], drive: Any, tmp_path: Path
) -> None:
    run = new_run("labels")
    read(tmp_path / "runs")
    drive.finish(run)
    assert run.ledger.next_iteration() == 3


def test_bind_gives_way_to_a_root_of_its_own(new_run: Callable[..., Any], tmp_path: Path) -> None:
    new_run("labels")
    source = LabeledRun("labels", root=str(tmp_path / "runs"))
    source.bind(tmp_path / "elsewhere")
    assert [tag_of(item.metadata) for item in source.items()].count(None) == 10


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    source = LabeledRun("nobody")
    source.bind(tmp_path)
    with pytest.raises(RunNotFoundError, match="there is no run 'nobody'"):
        list(source.items())
