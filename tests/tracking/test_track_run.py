"""What a run says to the tracker: each thing once, and nothing that a crash could take away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from querist import phases
from querist.errors import ConfigurationError
from querist.phases.conclude import conclude
from querist.runs import Run
from querist.runs.tracking import track_end, track_iteration, track_missing, track_start
from querist.storage.store import Store, stored_by
from querist.tracking.spool import SPOOL_FILE, TrackingSpool
from tests.shared.runs import component, drive, experiment, new_run

__all__ = ["component", "drive", "experiment", "new_run"]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "examples")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def tracked(new_run: Callable[..., Run]) -> Callable[..., Run]:
    def make(**tracking: Any) -> Run:
        run = new_run(tracking={"enabled": True, "uri": "http://127.0.0.1:9", **tracking})
        track_start(run)
        return run

    return make


def said(run: Run) -> list[tuple[str, str | None, float, Any]]:
    events = TrackingSpool(run.reference.folder).events()
    return [(e.kind, e.once, e.time, e.payload) for e in events]


def names(run: Run) -> list[str]:
    return [once or kind for kind, once, *_ in said(run)]


def cut(run: Run, lines: int) -> None:
    """As if a power cut had taken what came after so many lines."""
    path = run.reference.folder / SPOOL_FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


def test_what_a_crash_took_is_said_again_with_the_same_values_and_times(
    tracked: Callable[..., Run], drive: Any
) -> None:
    run = tracked(log_models_every=2)
    drive.finish(run)
    everything = said(run)
    assert [name.partition(" ")[0] for name in names(run)] == [
        "start", "artifact", *["curve", "iteration", "iteration"] * 2, "model",
        "curve", "iteration", "iteration",
    ]  # fmt: skip
    for lines in range(2, len(everything)):
        cut(run, lines)
        run = drive.reopened(run)
        track_start(run)
        track_missing(run)
        track_missing(run)
        again = said(run)
        key = lambda event: str(event[1])  # noqa: E731
        without = [e for e in again if e[0] != "model"]
        assert without == [e for e in everything if e[0] != "model"]
        assert sorted(map(key, again)) == sorted(map(key, everything))
        assert [e[3] for e in again if e[0] == "model"] == [
            e[3] for e in everything if e[0] == "model"
        ]


def test_without_its_first_lines_the_run_introduces_itself_again(
    tracked: Callable[..., Run], drive: Any
) -> None:
    run = tracked()
    drive.iterate(run, 0)
    everything = names(run)
    for lines in (0, 1):
        cut(run, lines)
        run = drive.reopened(run)
        track_start(run)
        track_start(run)
        track_missing(run)
        assert names(run) == everything


def test_the_time_of_a_number_is_that_of_its_commit(
    tracked: Callable[..., Run], drive: Any
) -> None:
    run = tracked()
    drive.finish(run)
    commits = {row.iteration: row for row in run.ledger.commit_rows()}
    metrology = run.ledger.metrology()
    for kind, once, at, payload in said(run):
        if kind == "metrics":
            assert once is not None
            row = commits[int(once.split()[1])]
            assert at == row.committed
            measured = metrology[row.iteration]
            if once.endswith("by labels"):
                assert payload["step"] == row.labels
                assert payload["values"] == {f"{k}_by_labels": v for k, v in measured.items()}
            else:
                assert payload["step"] == row.iteration
                assert payload["values"].items() >= measured.items()
                assert payload["values"]["labels"] == row.labels
                assert payload["values"]["labels_bought"] == 5 * (row.iteration + 1)
                assert {"train_loss", "seconds_train"} <= set(payload["values"])


def test_a_conclusion_that_is_done_twice_is_said_once(
    tracked: Callable[..., Run], drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tracked()
    drive.finish(run)
    with monkeypatch.context() as patch:
        patch.setattr(run.ledger, "set_fact", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            conclude(run)
    once = said(run)
    assert [e[0] for e in once][-2:] == ["tags", "end"]
    run = drive.reopened(run)
    track_start(run)
    track_missing(run)
    conclude(run)
    assert said(run) == once
    assert [e[0] for e in once].count("model") == 1


def test_a_conclusion_says_what_the_iterations_did_not(
    tracked: Callable[..., Run], drive: Any
) -> None:
    run = tracked()
    drive.finish(run)
    everything = said(run)
    cut(run, len(everything) - 2)
    conclude(run)
    assert said(run)[: len(everything)] == everything


def test_the_spool_is_on_the_disk_before_the_run_is_marked_as_concluded(
    tracked: Callable[..., Run], drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Watched(Store):
        def sync(self, file: Any) -> None:
            order.append(str(file.name).rpartition("/")[2])
            super().sync(file)

    run = tracked()
    drive.finish(run)
    mark = run.ledger.set_fact
    monkeypatch.setattr(
        run.ledger, "set_fact", lambda key, value: (order.append(key), mark(key, value))
    )
    with stored_by(Watched()):
        conclude(run)
    assert [what for what in order if what in (SPOOL_FILE, "concluded")] == [
        SPOOL_FILE, "concluded",
    ]  # fmt: skip


def test_finished_is_final_and_failed_is_not(tracked: Callable[..., Run], drive: Any) -> None:
    run = tracked()
    folder = run.reference.folder
    track_end(folder, "FAILED")
    track_start(run)
    assert run.spool.status == "RUNNING"
    track_end(folder, "KILLED")
    track_start(run)
    drive.finish(run)
    conclude(run)
    before = names(run)
    assert before.count("start") == 3
    assert before.count("end") == 3
    track_end(folder, "FAILED")
    track_end(folder, "FINISHED")
    track_start(run)
    assert names(run) == before
    assert run.spool.status == "FINISHED"


def test_a_run_that_never_began_has_no_end(tmp_path: Any) -> None:
    track_end(tmp_path, "FAILED")
    assert TrackingSpool(tmp_path).events() == []


def test_a_disk_that_is_full_does_not_hide_why_the_run_failed(
    tracked: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Store):
        def write(self, file: Any, content: bytes) -> None:
            raise OSError(28, "No space left on device")

    run = tracked()
    with stored_by(Full()), caplog.at_level(logging.WARNING, "querist"):
        track_end(run.reference.folder, "FAILED")
    assert "the tracker is not told that the run ended FAILED" in caplog.text
    assert run.spool.status == "RUNNING"


def test_a_password_in_the_address_is_refused(
    new_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:canary@127.0.0.1:9")
    run = new_run(tracking={"enabled": True})
    with pytest.raises(ConfigurationError, match="a tracking URI holds no password"):
        track_start(run)
    assert not (run.reference.folder / SPOOL_FILE).exists() or said(run) == []


def test_a_run_that_is_not_tracked_says_nothing(new_run: Callable[..., Run], drive: Any) -> None:
    run = new_run()
    track_start(run)
    drive.finish(run)
    track_iteration(run, 0)
    track_missing(run)
    phases.conclude(run)
    assert not (run.reference.folder / SPOOL_FILE).exists()
