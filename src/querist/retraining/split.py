"""The second step: every item gets its subset, and keeps it for ever."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from querist.errors import DataError
from querist.items.split import assign_subsets, tagged
from querist.ledger.models import KnownItem
from querist.lineage import Lineage
from querist.retraining.source import open_source
from querist.storage.atomic import write_file
from querist.values import Item

ITEMS_FILE = "items.jsonl"
_log = logging.getLogger(__name__)


def split(lineage: Lineage, retraining: int) -> dict[str, Any]:
    """Give a subset to every labeled item that has none; returns how many each subset has.

    Raises:
        DataError: tags that contradict each other, or a subset that stays empty.
    """
    done = lineage.ledger.step(retraining, "split")
    if done is not None:
        export_items(lineage, retraining)
        return done
    started = time.time()
    settings = lineage.settings(retraining)
    answers = lineage.ledger.answers(through=retraining)
    source = open_source(lineage, settings)
    known = {item.id: item for item in lineage.ledger.items()}
    items = [_item(source.items, i) for i in answers]
    assigned = assign_subsets(
        items,
        settings.data.split,
        known={item.id: item.subset for item in known.values()},
        known_digests={item.digest: item.subset for item in known.values()},
    )
    new = [
        KnownItem(item.id, item.digest, assigned[item.id]) for item in items if item.id in assigned
    ]
    counts = Counter([item.subset for item in (*known.values(), *new)])
    subsets = {name: counts.get(name, 0) for name in settings.data.split.shares}
    outcome = {"subsets": subsets, "new": len(new)}
    lineage.ledger.record_split(retraining, new, outcome, started)
    export_items(lineage, retraining)
    _log.info("split: %s", ", ".join(f"{name} {count}" for name, count in subsets.items()))
    return outcome


def export_items(lineage: Lineage, retraining: int) -> None:
    """Write every item with its tag into `items.jsonl`, for people and scripts.

    Nothing is read from it: the ledger has the same.
    """
    answers = lineage.ledger.answers(through=retraining)
    lines = [
        json.dumps(
            {
                "id": item.id,
                "label": answers[item.id].value,
                "metadata": tagged(answers[item.id].metadata, item.subset),
            }
        )
        for item in lineage.ledger.items()
        if item.id in answers
    ]
    content = "".join(f"{line}\n" for line in lines).encode()
    write_file(lineage.reference.folder / ITEMS_FILE, content, durable=False)


def _item(items: Mapping[str, Item], name: str) -> Item:
    item = items.get(name)
    if item is None:
        raise DataError(
            f"item {name!r} is gone from data.source: bring it back; items may only be added"
        )
    return item
