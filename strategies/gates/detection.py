"""Average precision of boxes that are matched by how far they overlap.

The Pascal Visual Object Classes (VOC) Challenge, Everingham et al., 2010,
doi:10.1007/s11263-009-0275-4; the area is that under every point of the interpolated curve, as in
its later years.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from querist.errors import StrategyError
from querist.strategies.metrology.one_vs_rest import mean_of_defined
from querist.values import Detections, Outcomes


@dataclass(frozen=True)
class _OfClass:
    """The boxes of one class, the surest found one first.

    Attributes:
        images: of found boxes `(d,)`.
        hits: 1 for a found box that is right, else 0, `(d,)`.
        last: whether a box is the last one of its score `(d,)`.
        true_images: of true boxes `(t,)`.
    """

    images: torch.Tensor
    hits: torch.Tensor
    last: torch.Tensor
    true_images: torch.Tensor

    def average_precision(self, times: torch.Tensor) -> float:
        total = float(times[self.true_images].sum())
        if total == 0:
            return math.nan
        counts = times[self.images].double()
        # Boxes of one score enter the curve together, at the last of them.
        found = (counts * self.hits).cumsum(0)[self.last]
        precision = found / counts.cumsum(0)[self.last].clamp(min=1)
        best_beyond = precision.flip(0).cummax(0).values.flip(0)
        steps = torch.diff(found / total, prepend=torch.zeros(1, dtype=found.dtype))
        return float((steps * best_beyond).sum())


@dataclass(frozen=True)
class Matches:
    """Found boxes, and which of them are right; true boxes, of all images together.

    Attributes:
        of_class: the boxes by class, of classes that have true ones.
        finite: whether all scores are numbers.
    """

    of_class: Mapping[int, _OfClass]
    finite: bool

    def mean_average_precision(self, times: torch.Tensor, label: int | None = None) -> float:
        """The mean average precision over the classes that have true boxes, or of one class.

        NaN when there is no true box, or a score is not finite.

        Args:
            times: how often each image counts `(n,)`.
            label: only this class.
        """
        if not self.finite:
            return math.nan
        counted = [one for c, one in self.of_class.items() if label is None or c == label]
        return mean_of_defined([one.average_precision(times) for one in counted])


def match(outcomes: Outcomes, iou_threshold: float) -> Matches:
    """Each found box with the true box of its class and image that it overlaps most.

    Boxes are matched from the surest on; a true box is found once, and a second box on it is wrong.

    Raises:
        StrategyError: an image has no truth beside it, or boxes have no scores.
    """
    found, truth = _checked(outcomes)
    scores = _joined([f.scores for f in found if f.scores is not None], torch.float64)
    scores, order = scores.sort(descending=True, stable=True)
    images = _numbered(found)[order]
    classes = _joined([f.classes for f in found], torch.int64)[order]
    pairs = zip(found, truth, strict=True)
    hits = _joined([_hits(f, t, iou_threshold) for f, t in pairs], torch.float64)[order]
    true_images, true_classes = _numbered(truth), _joined([t.classes for t in truth], torch.int64)
    of_class = {}
    for label in true_classes.unique().tolist():
        kept = classes == label
        last = torch.ones(int(kept.sum()), dtype=torch.bool)
        last[:-1] = scores[kept][1:] != scores[kept][:-1]
        true = true_images[true_classes == label]
        of_class[label] = _OfClass(images[kept], hits[kept], last, true)
    return Matches(of_class, bool(torch.isfinite(scores).all()))


def overlap_of_each(outcomes: Outcomes) -> torch.Tensor:
    """How well the boxes of each image fit `(n,)`, 0 .. 1.

    Twice the sum of the overlaps of matched boxes over the number of found and true boxes: the F1
    of the image, in which a match counts as far as it overlaps. 1 where there is nothing to find,
    and nothing was found.
    """
    found, truth = _checked(outcomes)
    return torch.tensor([_fit(f, t) for f, t in zip(found, truth, strict=True)]).double()


def _checked(outcomes: Outcomes) -> tuple[Sequence[Detections], Sequence[Detections]]:
    found, truth = outcomes.found, outcomes.truth
    if found is None or truth is None or len(found) != len(truth):
        raise StrategyError(
            "boxes are compared image by image: give the found and the true ones of each"
        )
    if any(one.scores is None or len(one.scores) != len(one.boxes) for one in found):
        raise StrategyError("found boxes have a score each: give them with their scores")
    if any(len(one.classes) != len(one.boxes) for one in (*found, *truth)):
        raise StrategyError("boxes have a class each: give them with their classes")
    return found, truth


def _pairs(found: Detections, truth: Detections, least: float) -> list[tuple[int, float]]:
    """Found boxes that are matched, and by how much they overlap: the surest box chooses first."""
    assert found.scores is not None
    overlaps = intersection_over_union(found.boxes, truth.boxes)
    overlaps[found.classes[:, None] != truth.classes[None, :]] = 0.0
    pairs: list[tuple[int, float]] = []
    for box in found.scores.argsort(descending=True, stable=True).tolist():
        if not len(truth.boxes):
            break
        best = int(overlaps[box].argmax())
        overlap = float(overlaps[box, best])
        if overlap >= least and overlap > 0:
            pairs.append((box, overlap))
            overlaps[:, best] = 0.0
    return pairs


def _hits(found: Detections, truth: Detections, least: float) -> torch.Tensor:
    """1 for each found box that is matched, else 0."""
    hits = torch.zeros(len(found.boxes), dtype=torch.float64)
    hits[[box for box, _ in _pairs(found, truth, least)]] = 1.0
    return hits


def _fit(found: Detections, truth: Detections) -> float:
    boxes = len(found.boxes) + len(truth.boxes)
    if not boxes:
        return 1.0
    return 2 * math.fsum(overlap for _, overlap in _pairs(found, truth, 0.0)) / boxes


def intersection_over_union(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """The overlap of each box `(m, 4)` with each other one `(k, 4)`: `(m, k)`, 0 .. 1."""
    one = boxes.double().reshape(-1, 1, 4)
    other = others.double().reshape(1, -1, 4)
    first = torch.maximum(one[..., :2], other[..., :2])
    last = torch.minimum(one[..., 2:], other[..., 2:])
    shared = (last - first).clamp(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (one, other)]
    together = areas[0] + areas[1] - shared
    # Boxes without an area overlap nothing, nor do boxes that are not finite.
    return (shared / together).nan_to_num(nan=0.0, posinf=0.0)


def _numbered(images: Sequence[Detections]) -> torch.Tensor:
    """The image of each box `(d,)`."""
    counts = torch.tensor([len(one.boxes) for one in images], dtype=torch.int64)
    return torch.arange(len(images)).repeat_interleave(counts)


def _joined(parts: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    return torch.cat([torch.empty(0, dtype=dtype), *(part.to(dtype) for part in parts)])
