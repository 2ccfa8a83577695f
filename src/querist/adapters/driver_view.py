"""What a queue-style strategy sees as its driver."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from querist.config.experiment import Experiment

if TYPE_CHECKING:
    from querist.runs.run import Run


class UnlabeledView:
    """The samples that may be asked for, by position: a data set of their features."""

    def __init__(self, pool: Any, indices: torch.Tensor) -> None:
        self._pool = pool
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> torch.Tensor:
        features: torch.Tensor = self._pool.features(self.indices[position].reshape(1))[0]
        return features


class DriverView:
    """Read-only stand-in for the driver that queue-style strategies are attached to.

    Attributes:
        active_learning_step_idx: the present iteration.
        unlabeled_datapool: the user's own unlabeled pool, or the unlabeled samples by position.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.active_learning_step_idx = 0
        self.unlabeled_datapool: Any = getattr(run.data, "unlabeled_datapool", None)

    @property
    def learner(self) -> Any:
        """The torch module; the learner itself where there is none."""
        return getattr(self._run.learner, "module", self._run.learner)

    @property
    def model(self) -> Any:
        """The same as `learner`."""
        return self.learner

    @property
    def train_datapool(self) -> Any:
        """The user's own data set, or the labeled set."""
        own = getattr(self._run.data, "train_datapool", None)
        return self._run.data.labeled(self._run.ledger) if own is None else own

    training_pool = train_datapool

    @property
    def val_datapool(self) -> Any:
        """The user's own validation set, or the held-out test set."""
        own = getattr(self._run.data, "val_datapool", None)
        return self._run.data.test if own is None else own

    validation_pool = val_datapool

    @property
    def unlabeled_pool(self) -> Any:
        """The same as `unlabeled_datapool`."""
        return self.unlabeled_datapool

    @property
    def device(self) -> torch.device:
        """Where the learner is."""
        return self._run.device

    @property
    def log_dir(self) -> Path:
        """The run's folder."""
        return self._run.reference.folder

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.reference.run_id

    @property
    def config(self) -> Experiment:
        """The experiment."""
        return self._run.experiment

    @property
    def logger(self) -> logging.Logger:
        """Writes into the run's console log."""
        return logging.getLogger("querist.strategy")
