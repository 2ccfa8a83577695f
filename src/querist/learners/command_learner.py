"""A learner whose training, and whose predictions, are external programs."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import torch

from querist.commands.command import Command
from querist.commands.work import (
    checked_name,
    known_folder,
    make,
    plain_file,
    write_arrays,
    write_json,
)
from querist.errors import CommandError, ConfigurationError, LearnerError
from querist.learners.samples import refuse_numbers
from querist.randomness import derive_seed
from querist.registry import register
from querist.storage.atomic import remove, write_file
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.values import Task

PREDICTIONS = "predictions.npy"
_KEPT, _ITERATION = "work.", "iteration"
_log = logging.getLogger(__name__)


@register("learner", "command")
class CommandLearner:
    """A model that programs of the user's train and ask, in the run's work folder.

    Before each training the labeled samples are written as `labeled.npz` (`features`, `targets`),
    or as `labeled.json` where only scripts know them; `QUERIST_LABELED` names the file, and
    `QUERIST_SEED` is a seed. The files that are kept are the model: a checkpoint holds them, and
    before a training they are put back as the iteration before left them (the first one begins
    without them).

    Args:
        train: a command `{argv: [...], ...}`. A number on the last line of its output, or
            `{"train_loss": number}`, is the training loss.
        keep: files of the work folder that are the model.
        predict: a command for predictions. `QUERIST_FEATURES` names an `.npy` file; it writes
            `predictions.npy`, or a list on the last line of its output: class probabilities
            `(n, c)`, or numbers `(n,)` or `(n, d)`. Without it only query strategies and metrics
            that do not ask the learner can be used.
    """

    follows = ()
    """The settings of training are not told to the programs."""

    portable = False
    """The tracker's copy of it could not predict: its programs stay where they are."""

    def __init__(
        self,
        train: Mapping[str, Any],
        keep: Sequence[str] = (),
        predict: Mapping[str, Any] | None = None,
    ) -> None:
        self.train = Command.of("train", train)
        self.prediction = None if predict is None else Command.of("predict", predict)
        if isinstance(keep, str) or not isinstance(keep, Sequence):
            raise ConfigurationError(
                f"keep is a list of files of the work folder, not {keep!r:.80}: write [model.json]"
            )
        self.keep = tuple(checked_name(name) for name in keep)
        self._state: dict[str, bytes] = {}
        self._folder: Path | None = None
        self._classes: int | None = None
        self._iteration: int | None = None

    @property
    def task(self) -> Task:
        """Classification or regression."""
        return Task.REGRESSION if self._classes is None else Task.CLASSIFICATION

    def learns(self, classes: int | None) -> None:
        """What there is to learn: so many classes, or numbers."""
        self._classes = classes

    def work_in(self, folder: Path) -> None:
        """Where the programs work."""
        self._folder = folder

    def fit(self, labeled: Any, job: TrainingJob) -> TrainingReport:
        """Write the labels, put the model back as it was, and run the training.

        Raises:
            CommandError: the program failed.
            LearnerError: it left no model.
        """
        told = {
            "QUERIST_LABELED": self._write_labeled(labeled),
            "QUERIST_SEED": derive_seed(job.seed, job.iteration, "train", "command") % 2**31,
        }
        self._put_back()
        line = self.train.run(self._folder, iteration=job.iteration, environment=told)
        self._state, self._iteration = self._read_kept(), job.iteration
        loss = self._loss(line, job.iteration)
        if loss is not None:
            job.on_epoch(EpochReport(1, 1, loss))
        return TrainingReport(epochs=1, steps=1, train_loss=loss)

    def _write_labeled(self, labeled: Any) -> Path:
        folder = known_folder(self._folder)
        if hasattr(labeled, "targets"):
            arrays = {"features": labeled.features(), "targets": labeled.targets}
            return write_arrays(folder / "labeled.npz", arrays)
        items = [labeled[index] for index in range(len(labeled))]
        return write_json(folder / "labeled.json", items)

    def _loss(self, line: str | None, iteration: int) -> float | None:
        """The training loss, if the program says one."""
        try:
            answer = self.train.read(line)
            if isinstance(answer, dict):
                answer = answer.get("train_loss")
            loss = None if answer is None else self.train.number(answer)
        except CommandError:
            return None
        if loss is not None and not math.isfinite(loss):
            _log.warning("iteration %d: %s says its loss is %s", iteration, self.train.name, loss)
        return loss

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)`, as the program says them.

        Raises:
            LearnerError: there is no such program, or its answer has another shape.
        """
        refuse_numbers(self.task)
        found = self._predictions(features)
        if found.shape != (len(features), self._classes):
            raise self._misfit(found, f"({len(features)}, {self._classes}) class probabilities")
        return found

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`, or numbers `(n,)` or `(n, d)`.

        Raises:
            LearnerError: there is no such program, or its answer has another shape.
        """
        if self._classes is not None:
            return self.predict_proba(features).argmax(1)
        found = self._predictions(features)
        if found.dim() not in (1, 2) or len(found) != len(features):
            raise self._misfit(found, f"({len(features)},) numbers")
        return found

    def _predictions(self, features: torch.Tensor) -> torch.Tensor:
        if self.prediction is None:
            raise LearnerError(
                "a command learner predicts by a program of its own, and learner.options.predict "
                "is not there: add it, or use query and metrology commands, `random`, and no "
                "metric of predictions"
            )
        folder = known_folder(self._folder)
        if not len(features):
            return torch.empty((0,) if self._classes is None else (0, self._classes))
        answer = folder / PREDICTIONS
        remove(answer)
        told = {"QUERIST_FEATURES": write_arrays(folder / "features.npy", {"features": features})}
        line = self.prediction.run(folder, iteration=self._iteration or 0, environment=told)
        if plain_file(folder, PREDICTIONS).exists():
            try:
                return torch.from_numpy(np.load(answer, allow_pickle=False).astype(np.float64))
            except (ValueError, TypeError, OSError) as error:
                raise LearnerError(
                    f"{self.prediction.name} wrote a {PREDICTIONS} that cannot be read, {error}: "
                    "write numbers with numpy.save"
                ) from error
        try:
            return torch.tensor(self.prediction.read(line), dtype=torch.float64)
        except (ValueError, TypeError) as error:
            raise LearnerError(
                f"{self.prediction.name} says a list of predictions, unlike {line!r:.80}: print "
                f"one, or write {PREDICTIONS}"
            ) from error

    def _misfit(self, found: torch.Tensor, wanted: str) -> LearnerError:
        assert self.prediction is not None
        return LearnerError(
            f"{self.prediction.name} predicts {wanted}, not the shape {tuple(found.shape)}: "
            "correct what it writes"
        )

    def _read_kept(self) -> dict[str, bytes]:
        folder = known_folder(self._folder)
        found = {}
        for name in self.keep:
            path = plain_file(folder, name)
            if not path.exists():
                raise LearnerError(
                    f"{self.train.name} ended well and left no {name!r:.200} in its work folder, "
                    "which learner.options.keep names: correct one of them"
                )
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                found[name] = file.read()
        return found

    def _put_back(self) -> None:
        """Bring the model's files to the state that is known: a killed training may have begun."""
        folder = make(known_folder(self._folder))
        for name in self.keep:
            path = plain_file(folder, name)
            content = self._state.get(name)
            if content is None:
                remove(path)
            elif not path.exists() or path.read_bytes() != content:
                make(path.parent)
                write_file(path, content, durable=False)

    def state_files(self) -> dict[str, bytes]:
        """The files that are kept, by their names."""
        if self._iteration is None:
            return {}
        kept = {f"{_KEPT}{quote(name, safe='')}": part for name, part in self._state.items()}
        return {_ITERATION: str(self._iteration).encode(), **kept}

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`; the files are put into the work folder.

        Raises:
            LearnerError: a file is none of those that `keep` names.
        """
        state = {unquote(n.removeprefix(_KEPT)): files[n] for n in files if n != _ITERATION}
        foreign = sorted(set(state) - set(self.keep))
        if foreign:
            raise LearnerError(
                f"a checkpoint holds files that learner.options.keep names, and not "
                f"{foreign[0]!r:.200}: restore the checkpoint"
            )
        self._state = state
        self._iteration = int(files[_ITERATION]) if _ITERATION in files else None
        if self._folder is not None:
            self._put_back()

    def reset(self) -> None:
        """Back to no model at all."""
        self._state, self._iteration = {}, None
        if self._folder is not None:
            self._put_back()
