"""Verdicts on parallel runs, and which learner is best."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from querist.config.parallel import Selector, build_parallel
from querist.errors import ConfigurationError, RunExistsError, RunLockedError
from querist.runs.outcomes import LearnerOutcome, judge, labels_to, select_best
from querist.runs.parallel import ParallelRun, is_parallel_run, load_parallel

from ..config.test_parallel import BASE

GOOD, BAD = "max iterations: 5", "failed: ValueError: x"


def run(tmp_path: Path, run_id: str | None = "several", **more: Any) -> ParallelRun:
    content = {
        **BASE,
        "learners": [{"name": "a"}, {"name": "b"}],
        "driver": {"root_log_dir": str(tmp_path)},
        "tracking": {"enabled": False},
        **more,
    }
    return ParallelRun(build_parallel(content, "x.yaml"), run_id)


def outcomes(*reasons: str) -> list[LearnerOutcome]:
    return [LearnerOutcome(f"l{i}", f"p-l{i}", reason) for i, reason in enumerate(reasons)]


@pytest.mark.parametrize(
    ("rule", "reasons", "verdict"),
    [
        ("continue", [GOOD, GOOD], "succeeded"),
        ("continue", [GOOD, BAD], "degraded"),
        ("continue", [BAD, BAD], "failed"),
        ("continue", [GOOD, "stopped by user"], "succeeded"),
        ("fail_fast", [GOOD, BAD], "failed"),
        ("fail_fast", ["stopped: another learner failed", BAD], "failed"),
        ({"quorum": 2}, [GOOD, GOOD, BAD], "degraded"),
        ({"quorum": 2}, [GOOD, BAD, BAD], "failed"),
        ({"quorum": 2}, [GOOD, GOOD, GOOD], "succeeded"),
    ],
)
def test_the_rule_decides(rule: Any, reasons: list[str], verdict: str) -> None:
    learners = [{"name": f"l{i}"} for i in range(len(reasons))]
    experiment = build_parallel(
        {**BASE, "learners": learners, "parallel": {"on_failure": rule}}, "x"
    )
    found, why = judge(experiment, outcomes(*reasons))
    assert found == verdict
    finished = sum(reason in (GOOD, "stopped by user") for reason in reasons)
    assert why.startswith(f"{finished} of {len(reasons)} learners finished")
    if BAD in reasons:
        assert BAD in why


def curve(*values: float) -> tuple[tuple[int, float], ...]:
    return tuple((10 * (i + 1), value) for i, value in enumerate(values))


def learner(name: str, *values: float) -> LearnerOutcome:
    return LearnerOutcome(name, f"p-{name}", GOOD, curve=curve(*values))


def test_the_best_end_wins_without_a_target() -> None:
    found = [learner("a", 0.9, 0.5), learner("b", 0.5, 0.7), learner("c", 0.1, math.nan)]
    assert select_best(Selector(metric="f1"), found) == ("b", "f1 0.7 at the end")
    assert select_best(Selector(metric="mse"), found)[0] == "a"


def test_with_a_target_the_fewest_labels_win_then_the_end() -> None:
    found = [learner("a", 0.2, 0.9, 0.8), learner("b", 0.2, 0.3, 0.99), learner("c", 0.1, 0.9, 0.9)]
    name, why = select_best(Selector(metric="f1", target=0.9), found)
    assert (name, why) == ("c", "20 labels to 0.9, f1 0.9 at the end")
    name, why = select_best(Selector(metric="f1", target=2.0), found)
    assert (name, why) == ("b", "never reached 2, f1 0.99 at the end")


def test_nan_is_never_best() -> None:
    assert select_best(Selector(metric="f1"), [learner("a", math.nan)]) == (
        None,
        "no learner has measured f1",
    )


def test_labels_to_a_target() -> None:
    from querist.directions import Direction

    assert labels_to(0.5, curve(0.1, 0.5, 0.4), Direction.MAX) == 20
    assert labels_to(0.5, curve(0.9, math.nan, 0.4), Direction.MIN) == 30
    assert labels_to(0.99, curve(0.1), Direction.MAX) is None
    assert labels_to(None, curve(0.1), Direction.MAX) is None


def test_a_parallel_run_is_a_folder_that_one_process_works_on(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert is_parallel_run(tmp_path / "several")
    with pytest.raises(RunLockedError, match="run several is being worked on by process"):
        run(tmp_path)
    first.close()
    run(tmp_path).close()  # goes on with it
    assert load_parallel(tmp_path / "several").base.name == "several"


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    run(tmp_path).close()
    with pytest.raises(ConfigurationError, match="was made with another configuration"):
        run(tmp_path, seed=4)
    run(tmp_path).close()  # the lock was given back


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "thesis.tex").write_text("x")
    with pytest.raises(RunExistsError, match="is no parallel run"):
        run(tmp_path)
    assert [path.name for path in (tmp_path / "several").iterdir()] == ["thesis.tex"]


def test_the_result_is_written_down(tmp_path: Path) -> None:
    made = run(tmp_path)
    summary = made.conclude([made.outcome("a", BAD), made.outcome("b", GOOD)])
    made.close()
    written = json.loads((tmp_path / "several" / "result.json").read_text())
    assert written["verdict"] == summary.verdict == "degraded"
    assert [one["reason"] for one in written["learners"]] == [BAD, GOOD]
