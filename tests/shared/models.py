"""Retraining in this process, by plain calls of its steps, on items in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from querist.config.load import merge
from querist.config.retraining import Retraining, build_retraining
from querist.lineage import Lineage, LineageReference, close_lineage, open_lineage
from querist.retraining.pull import Pulled, pull
from querist.retraining.steps import STEPS

SETTINGS: dict[str, Any] = {
    "model": "blobs",
    "seed": 3,
    "data": {
        "source": {"name": "files", "options": {"classes": 2}},
        "split": {"subsets": {"train": 0.6, "validation": 0.1, "test": 0.3}, "by": "exact"},
    },
    "learner": {"name": "sklearn", "options": {"estimator": "LogisticRegression"}},
    "metrology": ["accuracy", "log_loss"],
    "compare": {"checks": [{"metric": "accuracy"}], "wins": "all"},
    "tracking": {"enabled": False},
}
TORCH = {
    "learner": {
        "name": "examples.retraining.model:ImageNet",
        "options": {"features": 2, "hidden": 4, "classes": 2, "dropout": 0.0},
    },
    "training": {
        "max_training_epochs": 4, "max_fine_tuning_epochs": 2, "batch_size": 16,
        "optimizer": {"name": "Adam", "options": {"lr": 0.05}},
    },
}  # fmt: skip
"""A learner that goes on from its base's weights."""


def blob(number: int, *, noise: float = 1.0, shift: float = 0.0) -> dict[str, Any]:
    """Item `number` of two classes that overlap."""
    draw = np.random.default_rng(number)
    label = number % 2
    features = (draw.normal(0, noise, 2) + (2 * label - 1) + shift).round(4).tolist()
    site = "north" if number % 3 else "south"
    return {"id": f"i{number:04d}", "label": label, "features": features,
            "metadata": {"site": site}}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A folder with items, and the registered model that learns from them."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "runs"

    @property
    def reference(self) -> LineageReference:
        return LineageReference(model="blobs", root=self.root)

    def add(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items to the source."""
        items_folder = self.folder / "items"
        items_folder.mkdir(exist_ok=True)
        with (items_folder / "items.jsonl").open("a") as file:
            file.writelines(f"{json.dumps(item)}\n" for item in items)

    def correct(self, items: Mapping[str, Any]) -> None:
        """Give items other labels."""
        path = self.folder / "items" / "items.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        changed = [{**line, "label": items.get(line["id"], line["label"])} for line in lines]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in changed))

    def settings(self, **changes: Any) -> Retraining:
        """The settings, with groups changed."""
        content = merge(SETTINGS, changes)
        if "learner" in changes:
            content["learner"] = changes["learner"]
        content["root_log_dir"] = str(self.root)
        content["data"]["source"].setdefault("options", {})
        if content["data"]["source"]["name"] == "files":
            content["data"]["source"]["options"]["folder"] = str(self.folder / "items")
        return build_retraining(content, self.folder / "settings.yaml")

    def pull(self, window: str = "w", **changes: Any) -> Pulled:
        """Pull; the model is locked afterwards if there was no error."""
        return pull(self.settings(**changes), window)

    def retrain(self, window: str = "w", until: str = "promote", **changes: Any) -> dict[str, Any]:
        """Pull and do every step up to one; returns what that one gave, or why there was none."""
        pulled = self.pull(window, **changes)
        try:
            if pulled.retraining is None:
                return {"event": "nothing new", "reason": pulled.reason}
            lineage = open_lineage(pulled.lineage, to_retrain=True)
            for name, step in STEPS.items():
                done = step(lineage, pulled.retraining)
                if name == until:
                    return done
            raise AssertionError(f"there is no step {until}")
        finally:
            close_lineage(self.reference, to_retrain=True)

    def look(self) -> Looked:
        """The model, opened to look at it."""
        return Looked(self.reference)


class Looked:
    """A registered model that is open inside."""

    def __init__(self, reference: LineageReference) -> None:
        self._reference = reference

    def __enter__(self) -> Lineage:
        return open_lineage(self._reference, to_retrain=False)

    def __exit__(self, *error: object) -> None:
        close_lineage(self._reference, to_retrain=False)


def place_in(folder: Path, count: int = 60) -> Iterator[Place]:
    """A place with so many items, and nothing open at its end."""
    place = Place(folder)
    place.add(blob(number) for number in range(count))
    yield place
    for locked in (True, False):
        close_lineage(place.reference, to_retrain=locked)
