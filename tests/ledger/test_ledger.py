from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from querist.errors import LabelError, RunError, StorageError
from querist.ledger import Ledger, OpenRequest
from querist.ledger.ledger import INITIAL
from querist.values import Check, Label, Phase, Verdict


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    made = Ledger(tmp_path / "ledger.db")
    made.create()
    yield made
    made.close()


def select(ledger: Ledger, iteration: int, samples: list[int], keys: bool = True) -> None:
    ledger.record_selection(
        iteration,
        [(s, 1.0 / (i + 1), "margin") for i, s in enumerate(samples)],
        keys=[f"key{s}" for s in samples] if keys else None,
        made={},
        started=1.0,
    )


def start(ledger: Ledger, samples: list[int], **subsets: list[int]) -> None:
    wanted = {INITIAL: samples, **subsets}
    ledger.record_start(
        {name: torch.tensor(x, dtype=torch.int64) for name, x in wanted.items()},
        [Label(s, 0, cost=0.0) for s in samples],
        1.0,
    )


def pragma(ledger: Ledger, name: str) -> Any:
    with ledger._engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_every_commit_reaches_the_disk(ledger: Ledger) -> None:
    assert pragma(ledger, "journal_mode") == "wal"
    assert pragma(ledger, "synchronous") == 2  # FULL
    assert pragma(ledger, "foreign_keys") == 1


def test_facts(ledger: Ledger) -> None:
    assert ledger.fact("x") is None
    ledger.set_fact("x", "1")
    ledger.set_fact("x", "2")
    assert ledger.fact("x") == "2"


def test_a_ledger_of_another_version(ledger: Ledger) -> None:
    ledger.check_schema()
    ledger.set_fact("schema", "99")
    with pytest.raises(RunError, match="ledger schema 99"):
        ledger.check_schema()


def test_subsets_keep_their_order(ledger: Ledger) -> None:
    start(ledger, [5, 2, 9], test=[7, 1])
    assert ledger.subset(INITIAL).tolist() == [5, 2, 9]
    assert ledger.subset("test").tolist() == [7, 1]
    assert ledger.subset("nothing").tolist() == []


def test_selection_and_requests(ledger: Ledger) -> None:
    select(ledger, 0, [5, 3, 8])
    select(ledger, 1, [1])
    assert ledger.selected().tolist() == [5, 3, 8, 1]
    assert ledger.selected(0).tolist() == [5, 3, 8]
    assert ledger.done_phases(0) == {Phase.QUERY}
    ledger.record_label(Label(3, 1), source="o", iteration=0)
    assert ledger.open_requests() == [
        OpenRequest(5, 0, 0, "key5"),
        OpenRequest(8, 0, 2, "key8"),
        OpenRequest(1, 1, 0, "key1"),
    ]


def test_selection_without_requests(ledger: Ledger) -> None:
    select(ledger, 0, [5, 3], keys=False)
    assert ledger.open_requests() == []
    assert ledger.selected().tolist() == [5, 3]


def test_an_empty_selection_still_ends_the_phase(ledger: Ledger) -> None:
    select(ledger, 0, [])
    assert ledger.done_phases(0) == {Phase.QUERY}
    assert ledger.selected(0).tolist() == []


def test_recording_again_changes_nothing(ledger: Ledger) -> None:
    verdict = Verdict(True, "better", (Check("f1", None, 0.5, 0.0, True, "first"),))

    def everything(again: bool) -> None:
        select(ledger, 0, [5, 3])
        ledger.record_metrology(0, {"f1": 0.9 if again else 0.5}, 10, 1.0)
        ledger.record_phase(0, Phase.TRAIN, 1.0, {"train_loss": 9.0 if again else 1.0})
        ledger.record_label(Label(5, 1), source="o", iteration=0)
        ledger.record_verdict(0, Verdict(False, "worse") if again else verdict)
        ledger.commit_iteration(0, 99 if again else 10, {"again": again}, "digest")

    def content() -> list[Any]:
        with sqlite3.connect(ledger.path) as connection:
            tables = (
                "selections",
                "requests",
                "labels",
                "metrology",
                "phases",
                "verdicts",
                "commits",
            )
            return [connection.execute(f"SELECT * FROM {t}").fetchall() for t in tables]

    everything(again=False)
    before = content()
    everything(again=True)
    assert content() == before
    assert ledger.next_iteration() == 1
    assert ledger.champion() == 0
    assert ledger.verdicts()[0]["checks"][0]["reason"] == "first"


def test_a_label_is_kept_once(ledger: Ledger) -> None:
    assert ledger.record_label(Label(4, 1), source="o", iteration=0)
    assert not ledger.record_label(Label(4, 1), source="o", iteration=3)
    assert ledger.label_rows() == [(4, "", 1)]
    assert ledger.label_rows(before_iteration=1) == [(4, "", 1)]


def test_the_first_label_is_kept_when_another_one_comes(ledger: Ledger) -> None:
    ledger.record_label(Label(4, 1), source="o", iteration=0)
    with pytest.raises(LabelError, match="sample 4 is labeled 1 by o, which now says 0: the first"):
        ledger.record_label(Label(4, 0), source="o", iteration=0)
    assert ledger.label_rows() == [(4, "", 1)]


def test_one_label_per_annotator(ledger: Ledger) -> None:
    for annotator, value in (("ben", 1), ("ann", 0)):
        ledger.record_label(Label(4, value, annotator, cost=2.5), source="o", iteration=0)
    assert ledger.label_rows() == [(4, "ann", 0), (4, "ben", 1)]
    assert ledger.labels_spent() == (2, 5.0)


def test_order_of_labels(ledger: Ledger) -> None:
    start(ledger, [9, 1])
    select(ledger, 0, [7, 3])
    select(ledger, 1, [2, 8])
    for sample, iteration in ((8, 1), (3, 1), (2, 1), (7, 0)):  # 3 was pending for an iteration
        ledger.record_label(Label(sample, 1), source="o", iteration=iteration)
    assert [row[0] for row in ledger.label_rows()] == [9, 1, 7, 3, 2, 8]
    assert [row[0] for row in ledger.label_rows(before_iteration=1)] == [9, 1, 7]
    assert [row[0] for row in ledger.label_rows(before_iteration=0)] == [9, 1]
    assert ledger.labels_spent() == (4, 4.0)


@pytest.mark.parametrize("value", [3, 0.1, 1e-300, [0.1, 2.0], -5.5])
def test_label_values_come_back_exactly(ledger: Ledger, value: Any) -> None:
    ledger.record_label(Label(0, value), source="o", iteration=0)
    assert ledger.label_rows() == [(0, "", value)]


def test_metrology_with_nan(ledger: Ledger) -> None:
    ledger.record_metrology(0, {"r2": math.nan, "mse": math.inf}, 10, 1.0)
    ledger.record_metrology(1, {"r2": 0.5}, 20, 1.0)
    found = ledger.metrology()
    assert math.isnan(found[0]["r2"])
    assert found[0]["mse"] == math.inf
    assert found[1] == {"r2": 0.5}
    assert ledger.metrology_labels() == {0: 10, 1: 20}


def test_metrics_keep_the_order_they_were_measured_in(ledger: Ledger) -> None:
    ledger.record_metrology(0, {"mse": 1.0, "r2": 2.0, "mae": 3.0}, 10, 1.0)
    assert list(ledger.metrology()[0]) == ["mse", "r2", "mae"]


def test_champion_is_the_one_promoted_last(ledger: Ledger) -> None:
    assert ledger.champion() is None
    for iteration, promote in enumerate([True, False, True, False]):
        ledger.record_verdict(iteration, Verdict(promote, "x"))
    assert ledger.champion() == 2


def test_made_samples(ledger: Ledger) -> None:
    ledger.record_selection(
        0,
        [(10, 1.0, "x"), (11, 0.5, "x")],
        keys=["a", "b"],
        made={11: b"two", 10: b"one"},
        started=0,
    )
    assert ledger.made_samples() == [b"one", b"two"]
    assert ledger.made_count() == 2


def test_a_full_disk_is_said_in_words_and_loses_nothing(ledger: Ledger) -> None:
    ledger.record_label(Label(0, 1), source="o", iteration=0)
    with ledger._engine.begin() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(StorageError, match=r"database or disk is full: make room .* then resume"):
        ledger.record_metrology(0, {f"metric{i}": 1.0 for i in range(10_000)}, 1, 1.0)
    assert ledger.label_rows() == [(0, "", 1)]
    assert ledger.metrology() == {}
    assert ledger.done_phases(0) == set()


def test_a_damaged_file_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(RunError, match="is damaged, file is not a database"):
        Ledger(path).check_schema()


def test_labels_survive_a_kill(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from querist.ledger import Ledger
from querist.values import Label
ledger = Ledger(Path(sys.argv[1]))
ledger.create()
for sample in range(10_000):
    ledger.record_label(Label(sample, sample % 2), source="o", iteration=0)
    print(sample, flush=True)
"""
    path = tmp_path / "ledger.db"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.wait()
    assert process.returncode == -signal.SIGKILL
    ledger = Ledger(path)
    found = [sample for sample, _, _ in ledger.label_rows()]
    ledger.close()
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found)) <= len(acknowledged) + 1


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from(["", "ann", "ben"])),
        max_size=15,
    )
)
def test_whatever_comes_the_first_label_of_each_annotator_stands(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[int, int, str]]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    ledger.create()
    first: dict[tuple[int, str], int] = {}
    for sample, value, annotator in answers:
        expected = first.setdefault((sample, annotator), value)
        label = Label(sample, value, annotator)
        if value == expected:
            ledger.record_label(label, source="o", iteration=0)
        else:
            with pytest.raises(LabelError):
                ledger.record_label(label, source="o", iteration=0)
    assert {(s, a): v for s, a, v in ledger.label_rows()} == first
    assert ledger.labels_spent()[0] == len(first)
    ledger.close()
