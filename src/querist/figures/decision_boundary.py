"""What a classifier thinks of a plane, and where it was given labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from querist.errors import DataError
from querist.figures.canvas import COLORS, GREY, MARKERS, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POOL_POINTS = 5000
_Array = np.ndarray[Any, Any]


def decision_boundary(
    predict_proba: Callable[[torch.Tensor], torch.Tensor],
    features: torch.Tensor,
    labeled: torch.Tensor,
    targets: torch.Tensor,
    path: Path,
    *,
    selected: torch.Tensor | None = None,
    title: str = "Decision boundary",
    axis_names: tuple[str, str] = ("feature 0", "feature 1"),
    resolution: int = 200,
) -> None:
    """Draw class probabilities over the plane with the labeled samples, to `path` as PNG.

    Args:
        predict_proba: class probabilities `(m, c)` for features `(m, 2)`.
        features: the pool `(n, 2)`; of more than 5,000 samples an even part is shown.
        labeled: pool indices `(k,)` of the labeled samples.
        targets: their classes `(k,)`.
        path: the PNG.
        selected: pool indices of the newest selection, drawn with a ring.
        title: above the figure.
        axis_names: names of the two features, with their units where they have one.
        resolution: points along each side of the plane.

    Raises:
        DataError: the pool does not lie in a plane.
    """
    if features.ndim != 2 or features.shape[1] != 2:
        raise DataError(
            f"a decision boundary needs features (n, 2), not {tuple(features.shape)}: leave it out"
        )
    points = features.detach().cpu().double().numpy()
    x, y, probabilities = _plane(predict_proba, points, features.dtype, resolution)
    figure, axes = new_figure(width=6.6, height=5.0)
    axes.grid(visible=False)
    if probabilities.shape[2] == 2:
        _draw_two_classes(figure, axes, x, y, probabilities[..., 1])
    else:
        _draw_classes(axes, x, y, probabilities)
    _draw_samples(axes, points, labeled, targets, selected)
    axes.set_xlim(float(x[0]), float(x[-1]))
    axes.set_ylim(float(y[0]), float(y[-1]))
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    save(figure, path)


def _plane(
    predict_proba: Callable[[torch.Tensor], torch.Tensor],
    points: _Array,
    dtype: torch.dtype,
    resolution: int,
) -> tuple[_Array, _Array, _Array]:
    """A grid round the pool: x `(r,)`, y `(r,)`, probabilities `(r, r, c)`."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.06 * np.where(high > low, high - low, 1.0)
    x, y = (np.linspace(low[i] - margin[i], high[i] + margin[i], resolution) for i in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    found = predict_proba(torch.from_numpy(grid).to(dtype)).detach().cpu().double().numpy()
    return x, y, found.reshape(resolution, resolution, -1)


def _draw_two_classes(figure: Figure, axes: Axes, x: _Array, y: _Array, second: _Array) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("classes", [COLORS[0], "#FFFFFF", COLORS[1]])
    levels = np.linspace(0.0, 1.0, 21)
    filled = axes.contourf(x, y, second, levels=levels, cmap=colors, alpha=0.55)
    if second.min() < 0.5 < second.max():
        axes.contour(x, y, second, levels=[0.5], colors="black", linewidths=1.4)
    bar = figure.colorbar(filled, ax=axes, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.set_label("probability of class 1 (line: 0.5)")


def _draw_classes(axes: Axes, x: _Array, y: _Array, probabilities: _Array) -> None:
    """Each region in its class's colour, the paler the less certain."""
    from matplotlib.colors import to_rgb

    winner, certainty = probabilities.argmax(axis=2), probabilities.max(axis=2)
    palette = np.array([to_rgb(COLORS[c % len(COLORS)]) for c in range(probabilities.shape[2])])
    image = np.concatenate([palette[winner], 0.6 * certainty[..., None]], axis=2)
    extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    axes.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest")


def _draw_samples(
    axes: Axes,
    points: _Array,
    labeled: torch.Tensor,
    targets: torch.Tensor,
    selected: torch.Tensor | None,
) -> None:
    indices, classes = labeled.cpu().numpy(), targets.cpu().numpy()
    unlabeled = np.setdiff1d(np.arange(len(points)), indices)
    unlabeled = unlabeled[:: max(1, -(-len(unlabeled) // MAX_POOL_POINTS))]
    x, y = points[unlabeled].T
    axes.scatter(x, y, s=5, color=GREY, alpha=0.5, linewidths=0, label="unlabeled")
    for value in np.unique(classes):
        look = int(value)
        x, y = points[indices[classes == value]].T
        axes.scatter(
            x,
            y,
            s=30,
            color=COLORS[look % len(COLORS)],
            marker=MARKERS[look % len(MARKERS)],
            edgecolors="white",
            linewidths=0.7,
            label=f"labeled, class {look}",
        )
    if selected is not None and len(selected):
        x, y = points[selected.cpu().numpy()].T
        axes.scatter(
            x,
            y,
            s=70,
            facecolors="none",
            edgecolors="black",
            linewidths=1.2,
            label="selected now",
        )
