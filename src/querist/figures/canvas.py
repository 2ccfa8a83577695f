"""One look for all figures: a canvas of their own, colours that everybody can tell apart."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from querist.storage.atomic import create_folder, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, dark enough on white (its yellow is left out).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
GREY = "#5A5A5A"


def new_figure(*, width: float = 7.0, height: float = 4.4) -> tuple[Figure, Axes]:
    """A figure on an Agg canvas of its own: no window, no state shared between threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#D9D9D9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.title.set_parse_math(False)  # a name may hold any character, "$" too
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a PNG as a whole: who reads `path` meanwhile sees the old figure or the new one."""
    create_folder(path.parent)
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # A name may be in any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(drawn, format="png")
    write_file(path, drawn.getvalue())


def style(position: int) -> tuple[str, str, str]:
    """Colour, marker and line of the series at a position; no two of the first 28 are alike."""
    line = LINES[position // len(COLORS) % len(LINES)]
    return COLORS[position % len(COLORS)], MARKERS[position % len(MARKERS)], line
