"""Members of an ensemble that are trained one after the other."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from querist.errors import LearnerError
from querist.learners.bootstrap import bootstrap_counts
from querist.learners.samples import MeanOfSamples
from querist.pools.labeled import LabeledSet
from querist.protocols import Learner, PartialCheckpoints
from querist.randomness import SETUP, derive_seed
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.views import View

_MEMBER = re.compile(r"member_(\d{3})\.(.+)")
_DONE = "ensemble.json"
_PARTIAL = "partial."
_log = logging.getLogger(__name__)


def is_of_members(files: Mapping[str, bytes]) -> bool:
    """Whether these are the state files of members that each have their own."""
    return any(_MEMBER.fullmatch(name) for name in files)


class OneByOne(MeanOfSamples):
    """Trains learners one after the other and predicts the mean of what they predict.

    Args:
        members: at least two learners of one kind.
        reason: why they are not trained in one pass, for the log.
        bootstrap: each learns from a bootstrap sample of its own.
    """

    def __init__(self, members: Sequence[Learner], *, reason: str, bootstrap: bool) -> None:
        self.members = tuple(members)
        self.reason = reason
        self._bootstrap = bootstrap
        self._said = False
        self.task = self.members[0].task
        self.device: torch.device = getattr(members[0], "device", torch.device("cpu"))
        self.dtype: torch.dtype = getattr(members[0], "dtype", torch.float32)

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Train each member by a seed of its own.

        With `checkpoint_epochs` the members that are done are kept, and the one in training as far
        as it keeps itself.
        """
        if not self._said:
            self._said = True
            _log.info(
                "the ensemble's %d members are trained one after the other: %s",
                len(self.members), self.reason,
            )  # fmt: skip
        counts = None
        if self._bootstrap:
            counts = bootstrap_counts(labeled.targets, self.task, len(self.members), job)
        kept = _Kept.of(job)
        for k in range(len(kept.reports)):
            self.members[k].load_state_files(_files_of(kept.files, k))
        for k in range(len(kept.reports), len(self.members)):
            own = labeled if counts is None else _repeated(labeled, counts[k])
            report = self.members[k].fit(own, self._job_of(k, job, kept))
            state = {_name(k, n): c for n, c in self.members[k].state_files().items()}
            kept.done(report, state)
            if kept.partial is not None and k + 1 < len(self.members):
                kept.save(job.epochs * (k + 1), {})
        return _joined(kept.reports)

    def _job_of(self, k: int, job: TrainingJob, kept: _Kept) -> TrainingJob:
        """The job of one member: a seed of its own, and epochs counted over all members."""
        number = len(self.members)

        def on_epoch(report: EpochReport) -> None:
            done = k * report.epochs + report.epoch
            job.on_epoch(replace(report, epoch=done, epochs=number * report.epochs))

        return replace(
            job,
            seed=derive_seed(job.seed, SETUP, "train", f"member {k}"),
            partial=None if kept.partial is None else _MemberPartial(kept, k * job.epochs),
            on_epoch=on_epoch,
        )

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each member `(k, n, c)`."""
        return torch.stack([member.predict_proba(features) for member in self.members])

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(k, n)`, or numbers `(k, n)` or `(k, n, d)`, of each member."""
        return torch.stack([member.predict(features) for member in self.members])

    @property
    def fitted(self) -> bool:
        """Whether all members can be asked for their embeddings yet."""
        return all(getattr(member, "fitted", True) for member in self.members)

    @property
    def views(self) -> frozenset[View]:
        """Embeddings, where all members have them."""
        return frozenset({View.EMBEDDINGS}).intersection(
            *(getattr(member, "views", frozenset()) for member in self.members)
        )

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The members' embeddings side by side `(n, k d)`: squared distances are their sums."""
        members: Sequence[Any] = self.members
        found = torch.cat([member.look(views[:1], features)[0] for member in members], dim=1)
        return (found,) * len(views)

    def state_files(self) -> dict[str, bytes]:
        """The members' files, `member_000.` and so on before their names."""
        return {
            _name(k, name): content
            for k, member in enumerate(self.members)
            for name, content in member.state_files().items()
        }

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`.

        Raises:
            LearnerError: they are of an ensemble that was trained in one pass.
        """
        if files and not is_of_members(files):
            raise LearnerError(
                "the checkpoint is of an ensemble that was trained in one pass, whose members are "
                f"trained one after the other here ({self.reason}): restore it with the settings "
                "and the torch version that it was made with"
            )
        for k, member in enumerate(self.members):
            member.load_state_files(_files_of(files, k))

    def reset(self) -> None:
        """Every member back to its first weights."""
        for member in self.members:
            member.reset()


def _name(k: int, name: str) -> str:
    return f"member_{k:03d}.{name}"


def _files_of(files: Mapping[str, bytes], k: int) -> dict[str, bytes]:
    found = [(_MEMBER.fullmatch(name), content) for name, content in files.items()]
    return {match[2]: content for match, content in found if match and int(match[1]) == k}


def _repeated(labeled: LabeledSet, counts: torch.Tensor) -> LabeledSet:
    rows = torch.arange(len(labeled)).repeat_interleave(counts)
    return replace(labeled, indices=labeled.indices[rows], targets=labeled.targets[rows])


_NUMBERS = ("epochs", "steps", "train_loss", "validation_loss", "stopped_early", "samples")


@dataclass
class _Kept:
    """The members that are done with this training, for a killed one to go on with."""

    partial: PartialCheckpoints | None
    reports: list[TrainingReport]
    files: dict[str, bytes]
    current: Mapping[str, bytes]

    @classmethod
    def of(cls, job: TrainingJob) -> _Kept:
        partial = job.partial if job.settings.checkpoint_epochs else None
        found = None if partial is None else partial.latest()
        if found is None:
            return cls(partial, [], {}, {})
        files = dict(found[1])
        reports = [TrainingReport(**report) for report in json.loads(files.pop(_DONE))]
        current = {
            name.removeprefix(_PARTIAL): files.pop(name)
            for name in list(files)
            if name.startswith(_PARTIAL)
        }
        return cls(partial, reports, files, current)

    def done(self, report: TrainingReport, files: Mapping[str, bytes]) -> None:
        self.reports.append(report)
        self.files.update(files)
        self.current = {}

    def save(self, epoch: int, current: Mapping[str, bytes]) -> None:
        assert self.partial is not None
        reports = [{name: getattr(r, name) for name in _NUMBERS} for r in self.reports]
        self.partial.save(
            epoch,
            {
                _DONE: json.dumps(reports).encode(),
                **self.files,
                **{f"{_PARTIAL}{name}": content for name, content in current.items()},
            },
        )


class _MemberPartial:
    """Where a member finds and leaves its state in mid-training, among those that are done."""

    def __init__(self, kept: _Kept, epochs: int) -> None:
        self._kept = kept
        self._epochs = epochs

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self._kept.save(self._epochs + epoch, files)

    def latest(self) -> tuple[int, Mapping[str, bytes]] | None:
        return (0, self._kept.current) if self._kept.current else None


def _joined(reports: Sequence[TrainingReport]) -> TrainingReport:
    """One report of all members: losses are means, steps and times are sums."""
    seconds: dict[str, float] = {}
    for report in reports:
        for part, spent in report.seconds.items():
            seconds[part] = seconds.get(part, 0.0) + spent

    def mean(of: Callable[[TrainingReport], float | None]) -> float | None:
        found = [value for value in map(of, reports) if value is not None]
        return sum(found) / len(found) if found else None

    memory: list[Any] = [r.device_memory for r in reports if r.device_memory is not None]
    return TrainingReport(
        epochs=max(report.epochs for report in reports),
        steps=sum(report.steps for report in reports),
        train_loss=mean(lambda report: report.train_loss),
        validation_loss=mean(lambda report: report.validation_loss),
        stopped_early=any(report.stopped_early for report in reports),
        samples=sum(report.samples for report in reports),
        seconds=seconds,
        device_memory=max(memory, default=None),
        captured=reports[0].captured,
    )
