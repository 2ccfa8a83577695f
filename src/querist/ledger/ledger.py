"""A run's ledger: its split, its initial labels, and the samples that were made on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from sqlalchemy import func, select

from querist.ledger import tables as t
from querist.ledger.labels import Labels
from querist.ledger.leased import LeasedLedger
from querist.values import Label


class Ledger(LeasedLedger, Labels):
    """The ledger of one run. Anybody may read it; who writes holds the lease."""

    def record_start(
        self,
        subsets: Mapping[str, torch.Tensor],
        labels: Sequence[Label],
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """The split, the initial labels and what holds for the run, in one transaction."""
        rows = [
            {"subset": name, "position": position, "sample": sample}
            for name, indices in subsets.items()
            for position, sample in enumerate(indices.tolist())
        ]
        with self.db.writing() as c:
            self.db.add(c, t.subsets, rows)
            self._add_initial(c, labels)
            self.db.add(c, t.facts, [{"key": k, "value": v} for k, v in (facts or {}).items()])

    def subset(self, name: str) -> torch.Tensor:
        """The samples of a subset, in their order."""
        query = select(t.subsets.c.sample).where(
            t.subsets.c.run == self.db.run, t.subsets.c.subset == name
        )
        rows = self.db.rows(query.order_by(t.subsets.c.position))
        return torch.tensor([row[0] for row in rows], dtype=torch.int64)

    def made_samples(self) -> list[bytes]:
        """Content of the samples that were made on the way, in the order of their indices."""
        query = select(t.samples.c.content).where(t.samples.c.run == self.db.run)
        return [bytes(row[0]) for row in self.db.rows(query.order_by(t.samples.c.sample))]

    def made_count(self) -> int:
        """How many samples were made on the way."""
        query = select(func.count()).select_from(t.samples).where(t.samples.c.run == self.db.run)
        return int(self.db.value(query))
