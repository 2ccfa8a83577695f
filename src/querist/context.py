"""What a strategy is given: read-only views of the learner, the pool and the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from querist.pools.labeled import LabeledSet
from querist.protocols import Pool, Predictor
from querist.shared_views import Found, SharedViews, computed_on, is_mapped
from querist.values import Task
from querist.views import View, look


@dataclass(frozen=True)
class QueryContext:
    """What a query strategy may look at.

    Attributes:
        learner: predicts; its weights must not be changed.
        pool: the samples.
        unlabeled: indices of the samples that may be asked for `(u,)`, ascending.
        labeled: what the learner was trained on.
        generator: the only source of randomness.
        device: where predictions are computed.
        chunk_size: samples per prediction, so that memory stays bounded.
        iteration: the iteration that asks.
        committee: models of the other learners of the same parallel run, which vote beside
            `learner`; empty where no strategy has `wants_committee`, or none of them is trained.
        shared: what `learner` has said of the candidates already, to this or another strategy.
    """

    learner: Predictor
    pool: Pool
    unlabeled: torch.Tensor
    labeled: LabeledSet
    generator: torch.Generator
    device: torch.device
    chunk_size: int
    iteration: int
    committee: Sequence[Predictor] = ()
    shared: SharedViews = field(default_factory=SharedViews, compare=False, repr=False)

    def chunks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Unlabeled indices `(m,)` and their features `(m, ...)`, chunk by chunk."""
        for indices in self.unlabeled.split(self.chunk_size):
            yield indices, self.pool.features(indices)

    def stream(self, *views: View) -> Iterator[tuple[torch.Tensor, ...]]:
        """Unlabeled indices `(m,)`, and what the learner says of them, chunk by chunk.

        One pass of the learner gives all views. Those that fit into memory are kept for whoever
        asks next, except features that the pool has in memory. All values of a chunk lie on one
        device, the learner's where one of them was computed there, and are not to be changed;
        indices lie on the CPU.

        Raises:
            StrategyError: the learner says something that cannot be; the sample is named.
        """
        kept = self._kept(views)
        missing = [view for view in views if view not in kept]
        whole: dict[View, torch.Tensor] = {}
        begin = 0
        try:
            for indices in self.unlabeled.split(self.chunk_size):
                end = begin + len(indices)
                said = dict(zip(missing, self.look(indices, *missing), strict=True))
                if begin == 0:
                    whole = self._room(said, needed=False)
                for view, values in whole.items():
                    _rows(values, view, begin, end).copy_(said[view])
                device = _one_device([*map(computed_on, said.values()),
                                      *(found.device for found in kept.values())])  # fmt: skip
                said |= {view: found.rows(begin, end) for view, found in kept.items()}
                yield indices, *(said[view].to(device) for view in views)
                begin = end
            for view, values in whole.items():
                self.shared.keep(view, self.unlabeled, values)
        finally:
            self._release(whole)

    def gather(self, view: View) -> torch.Tensor:
        """What the learner says of all unlabeled samples, `(u, ...)`, not to be changed.

        What does not fit into memory lies in a file that is mapped into it.

        Raises:
            StrategyError: the learner says something that cannot be; the sample is named.
        """
        return self.gather_all(view)[0]

    def gather_all(self, *views: View) -> tuple[torch.Tensor, ...]:
        """Several views like `gather`, from one pass of the learner.

        All lie on one device: the learner's, or the CPU where one of them lies in a file.

        Raises:
            StrategyError: the learner says something that cannot be; the sample is named.
        """
        asked = {view: self.shared.get(view, self.unlabeled) for view in views}
        found = {view: kept for view, kept in asked.items() if kept is not None}
        missing = [view for view in asked if view not in found]
        if missing and not len(self.unlabeled):
            found |= zip(missing, self.look(self.unlabeled, *missing), strict=True)
        elif missing:
            found |= self._gathered(missing)
        device = _one_device([computed_on(values) for values in found.values()])
        if any(map(is_mapped, found.values())):
            device = torch.device("cpu")
        return tuple(found[view].to(device) for view in views)

    def _gathered(self, views: Sequence[View]) -> dict[View, torch.Tensor]:
        """Views that nobody asked for yet, of all candidates."""
        whole: dict[View, torch.Tensor] = {}
        begin = 0
        try:
            for indices in self.unlabeled.split(self.chunk_size):
                end = begin + len(indices)
                said = dict(zip(views, self.look(indices, *views), strict=True))
                whole = whole or self._room(said, needed=True)
                for view, values in said.items():
                    _rows(whole[view], view, begin, end).copy_(values)
                begin = end
            for view, values in whole.items():
                self.shared.keep(view, self.unlabeled, values)
        finally:
            self._release(whole)
        return whole

    def _kept(self, views: Sequence[View]) -> dict[View, Found]:
        """Those of the views that were asked before of all candidates."""
        found = {view: self.shared.find(view, self.unlabeled) for view in views}
        return {view: kept for view, kept in found.items() if kept is not None}

    def of_labeled(self, view: View) -> torch.Tensor:
        """What the learner says of the labeled samples, `(l, ...)`."""
        return self.of(self.labeled.indices, view)

    def of(self, indices: torch.Tensor, view: View) -> torch.Tensor:
        """What the learner says of any samples of the pool, `(m, ...)`, in their order.

        Where it has said it of all of them already, it is not asked again; else chunk by chunk.
        """
        ascending, order = indices.sort()
        kept = self.shared.get(view, ascending)
        if kept is not None:
            return kept.index_select(view.rows, order.argsort().to(kept.device))
        parts = [self.look(part, view)[0] for part in indices.split(self.chunk_size)]
        return torch.cat(parts, dim=view.rows)

    def look(self, indices: torch.Tensor, *views: View) -> tuple[torch.Tensor, ...]:
        """What the learner says of one chunk of samples `(m,)`, a tensor for each view.

        Raises:
            StrategyError: it says something that cannot be; the sample is named.
        """
        return look(self.learner, views, self.pool.features(indices), indices) if views else ()

    def _room(self, said: dict[View, torch.Tensor], *, needed: bool) -> dict[View, torch.Tensor]:
        """Memory for these views of all candidates, as far as there is."""
        room: dict[View, torch.Tensor] = {}
        try:
            for view, values in said.items():
                # The pool has them in memory; only who wants them whole needs them side by side.
                if not needed and view is View.FEATURES and getattr(self.pool, "in_memory", False):
                    continue
                found = self.shared.room(view, values, len(self.unlabeled), needed=needed)
                if found is not None:
                    room[view] = found
        except BaseException:
            self._release(room)
            raise
        return room

    def _release(self, room: dict[View, torch.Tensor]) -> None:
        """Memory that was not filled, or is kept by now, is reserved no more."""
        for values in room.values():
            self.shared.release(values)


def _one_device(devices: Sequence[torch.device]) -> torch.device:
    """The learner's: where any of several views was computed; features come from the CPU."""
    return next((each for each in devices if each.type != "cpu"), torch.device("cpu"))


def _rows(values: torch.Tensor, view: View, begin: int, end: int) -> torch.Tensor:
    """Rows of samples `begin` to `end`, without a copy."""
    return values.narrow(view.rows, begin, end - begin)


@dataclass(frozen=True)
class StopSet:
    """Predictions on the stop set: samples of the training pool, the same in every iteration.

    A metrology strategy that has an attribute `stop_set_size` finds as many rows here, or all
    samples that there are; more where another strategy asked for more. The first rows are a random
    draw, too.

    Attributes:
        probabilities: by the model that is measured, `(m, c)`.
        before: by the model of the iteration before, `(m, c)`; None in the first iteration.
    """

    probabilities: torch.Tensor
    before: torch.Tensor | None


@dataclass(frozen=True)
class MetrologyContext:
    """What a metrology strategy may look at: predictions on the held-out test set.

    Attributes:
        task: classification, regression or multilabel.
        classes: number of classes; None for the other tasks.
        targets: the truth `(m,)` or `(m, d)`.
        predictions: class indices `(m,)`, or numbers or labels shaped like the targets.
        probabilities: `(m, c)`, of classes or of each label for itself; None for regression.
        labeled: how many labels the learner was trained on.
        iteration: the iteration that is measured.
        stop_set: predictions of this model and the one before; None where no metrology strategy
            asks for them.
    """

    task: Task
    classes: int | None
    targets: torch.Tensor
    predictions: torch.Tensor
    probabilities: torch.Tensor | None
    labeled: int
    iteration: int
    stop_set: StopSet | None = None
