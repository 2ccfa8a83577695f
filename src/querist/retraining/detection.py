"""Boxes that a model finds in test items, beside the true ones, for checks with `iou_threshold`.

A model that detects has a method `detect(features) -> Sequence[Detections]`, one for each item. The
truth stands in the items' metadata: `{"boxes": [{"box": [left, top, right, bottom], "class": 3}]}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from querist.errors import ConfigurationError, DataError
from querist.protocols import Learner
from querist.values import Detections

BOXES = "boxes"


def detections_of(learner: Learner, features: torch.Tensor) -> Sequence[Detections]:
    """What the model finds in each item.

    Raises:
        ConfigurationError: the model does not detect.
    """
    for candidate in (learner, getattr(learner, "module", None)):
        detect = getattr(candidate, "detect", None)
        if callable(detect):
            with torch.no_grad():
                found: Sequence[Detections] = detect(features)
            if len(found) != len(features):
                raise DataError(
                    f"detect gives one Detections for each item, not {len(found)} for "
                    f"{len(features)} items"
                )
            return found
    raise ConfigurationError(
        "a check with iou_threshold needs a model that has `detect(features)`: give it one, or "
        "remove iou_threshold"
    )


def true_boxes(item: str, metadata: Mapping[str, Any]) -> Detections:
    """The true boxes of an item; none where there are none in it.

    Raises:
        DataError: the metadata do not say, or say it otherwise.
    """
    entries = metadata.get(BOXES)
    try:
        assert isinstance(entries, list)
        boxes = [[float(x) for x in entry["box"]] for entry in entries]
        classes = [int(entry["class"]) for entry in entries]
        assert all(len(box) == 4 for box in boxes)
    except (AssertionError, KeyError, TypeError, ValueError):
        raise DataError(
            f"a check with iou_threshold needs the true boxes of item {item!r} in its metadata, "
            f"as {{'boxes': [{{'box': [left, top, right, bottom], 'class': 3}}]}}, not "
            f"{entries!r:.80}"
        ) from None
    return Detections(
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4), torch.tensor(classes).long()
    )
