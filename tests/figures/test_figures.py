"""The figures: whole PNGs with something on them, and what they refuse."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Literal

import matplotlib.image
import numpy as np
import pytest
import torch

from querist.errors import DataError, UnknownNameError
from querist.figures import comparison, decision_boundary, learning_curve, verdict
from querist.values import Check, IterationResult, Verdict


def colors_on(path: Path) -> set[tuple[int, int, int]]:
    """The colours of a PNG; matplotlib refuses to read a broken one."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    image = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(np.uint8)
    assert image.shape[0] > 300
    assert image.shape[1] > 500
    return {(r, g, b) for r, g, b in image.reshape(-1, 3).tolist()}


def history(values: list[float]) -> list[IterationResult]:
    return [IterationResult(i, 10 + 10 * i, {"f1": value}) for i, value in enumerate(values)]


BLUE, ORANGE, BLACK = (0, 114, 178), (213, 94, 0), (0, 0, 0)


def test_learning_curve_draws_the_metric(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "learning_curve.png"
    learning_curve(history([0.5, math.nan, 0.7, 0.8]), "f1", path, "two-moons")
    assert BLUE in colors_on(path)
    assert [p.name for p in path.parent.iterdir()] == ["learning_curve.png"]


def test_learning_curve_without_a_finite_value_says_so(tmp_path: Path) -> None:
    learning_curve(history([math.nan]), "f1", tmp_path / "a.png", "t")
    assert BLUE not in colors_on(tmp_path / "a.png")


def test_learning_curve_suggests_the_metric_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no metric named 'f2': did you mean 'f1'\?"):
        learning_curve(history([0.5]), "f2", tmp_path / "a.png", "t")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("classes", [2, 4])
def test_decision_boundary_draws_every_class(tmp_path: Path, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 2, generator=generator)
    centres = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])[:classes]
    asked: list[torch.Tensor] = []

    def predict_proba(at: torch.Tensor) -> torch.Tensor:
        asked.append(at)
        return torch.softmax(-torch.cdist(at, centres), dim=1)

    labeled = torch.arange(40)
    targets = predict_proba(features[labeled]).argmax(1)
    before = features.clone()
    path = tmp_path / "b.png"
    decision_boundary(
        predict_proba, features, labeled, targets, path, selected=torch.tensor([50]), resolution=50
    )
    assert {BLUE, ORANGE, BLACK} <= colors_on(path)
    assert torch.equal(features, before)
    grid = asked[-1]
    assert grid.shape == (2500, 2)
    assert grid.dtype == features.dtype
    assert (grid.amin(0) < features.amin(0)).all()
    assert (grid.amax(0) > features.amax(0)).all()


def test_decision_boundary_refuses_more_than_two_features(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs features \(n, 2\), not \(5, 3\)"):
        decision_boundary(
            lambda x: x, torch.zeros(5, 3), torch.arange(1), torch.zeros(1), tmp_path / "a.png"
        )


def test_comparison_draws_baseline_variants_and_single_records(tmp_path: Path) -> None:
    x = [10, 20, 30]
    curves = {
        "margin": [(x, [0.5, 0.7, 0.8]), ([10, 25, 40], [0.6, 0.75, math.nan])],
        "random": [(x, [0.4, 0.5, 0.6])],
        "all labels": [([100], [0.9])],
    }
    spreads: tuple[Literal["range", "deviation"], ...] = ("range", "deviation")
    for spread in spreads:
        path = tmp_path / f"{spread}.png"
        comparison(curves, path, "f1", baseline="random", spread=spread)
        assert {BLUE, ORANGE, BLACK} <= colors_on(path)
    assert (tmp_path / "range.png").read_bytes() != (tmp_path / "deviation.png").read_bytes()


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "at least one variant"),
        ({"a": []}, "'a' has no curve"),
        ({"a": [([1, 2], [1.0])]}, "one value for each number of labels"),
        ({"a": [([2, 1], [1.0, 1.0])]}, "ascend"),
        ({"a": [([1], [math.nan])]}, "no finite value"),
        ({"a": [([1, 2], [0.1, 0.2]), ([5, 6], [0.1, 0.2])]}, "no number of labels in common"),
    ],
)
def test_comparison_refuses(tmp_path: Path, curves: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        comparison(curves, tmp_path / "a.png", "f1")  # type: ignore[arg-type]


def test_comparison_suggests_the_baseline_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'random'"):
        comparison({"random": [([1], [1.0])]}, tmp_path / "a.png", "f1", baseline="radnom")


def test_importing_figures_does_not_import_matplotlib() -> None:
    code = "import sys, querist.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from querist.figures import learning_curve\n"
        "from querist.values import IterationResult\n"
        "r = [IterationResult(0, 1, {'a': 1.0})]\n"
        f"learning_curve(r, 'a', pathlib.Path({str(tmp_path / 'a.png')!r}), 't')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


GREEN, GREY, PURPLE = (0, 158, 115), (90, 90, 90), (204, 121, 167)


def test_a_verdict_shows_each_outcome_in_its_colour(tmp_path: Path) -> None:
    won = Check("$f1", 0.7, 0.8, 0.05, True, "r", 0.02, 0.18, gain=0.1)
    lost = Check("latency", 0.001, 0.002, 0.0, False, "r", gain=-0.001)
    worse = Check("$f1 (site south)", 0.7, 0.6, -0.02, False, "r", gain=-0.1, judged=False)
    allowed = Check("$f1 (site north)", 0.7, 0.7, -0.02, True, "r", 0.0, 0.0, False, 0.0)
    broken = Check("mine", None, math.nan, 0.0, False, "r")
    path = tmp_path / "a.png"
    for checks, colors in (
        ((won, worse), {GREEN, PURPLE}),
        ((lost, allowed), {ORANGE, GREY}),
        ((broken,), {GREY}),
    ):
        verdict(Verdict(False, "r", checks), path, title="$digits$ and a $")
        found = colors_on(path) & {GREEN, ORANGE, PURPLE, GREY}
        assert found - {GREY} == colors - {GREY}
        assert found >= colors


def test_a_verdict_of_many_checks_shows_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["querist.figures.verdict"], "MOST_ROWS", 2)
    won = Check("f1", 0.7, 0.8, 0.0, True, "r", gain=0.1)
    lost = Check("f1", 0.8, 0.7, 0.0, False, "r", gain=-0.1)
    verdict(Verdict(False, "r", (won, won, lost)), tmp_path / "a.png")
    assert {GREEN, ORANGE} & colors_on(tmp_path / "a.png") == {GREEN}


def test_a_verdict_without_checks_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="drawn from its checks, and this one has none"):
        verdict(Verdict(False, "r"), tmp_path / "a.png")
