"""A learner around any `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from querist.config.training import TrainingConfig
from querist.errors import LearnerError
from querist.learners.inside import Inside
from querist.learners.losses import LOSSES, choose_loss, probabilities
from querist.learners.samples import decided, refuse_numbers
from querist.learners.scoring import Scoring
from querist.learners.warm_start import shrink_and_perturb
from querist.pools.labeled import LabeledSet
from querist.protocols import TrainingLoop, TrainStep, ValidateStep
from querist.randomness import derive_seed, seeded_globally
from querist.training.batches import to_device
from querist.training.captures import Captures
from querist.training.job import TrainingJob, TrainingReport
from querist.training.precision import tensor_cores
from querist.training.repeatable import unrepeatable
from querist.training.threads import choose_threads, torch_threads
from querist.training.weights import (
    TRAINING_STATE,
    WEIGHTS,
    state_from_bytes,
    state_to_bytes,
    weights_from_bytes,
    weights_to_bytes,
)
from querist.values import Task
from querist.views import View

if TYPE_CHECKING:
    from querist.learners.build import DescribesLearner

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def choose_device(setting: str) -> torch.device:
    """The device that `training.device` names.

    Raises:
        LearnerError: there is no such device here.
    """
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(setting)
    there = {
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, True):
        raise LearnerError(f"training.device {setting} is not there: use auto or cpu")
    return device


class TorchLearner:
    """Fits a module with the training loop, and turns its outputs into predictions.

    The module maps features `(n, ...)` to logits `(n, c)` of classes (or `(n, 1)` for two), to
    logits of labels where `settings.loss` is multilabel, or to numbers. It may bring its own
    `training_step(batch) -> loss`, `validation_step(batch)` and `predict_proba(features)`, which
    are then used.

    Args:
        module: the model; its present weights are the first weights.
        classes: number of classes; None for numbers, and for labels.
        sample: features of one sample `(1, ...)`, to find out what the module gives; None where
            only the user's own steps know what an item is.
        settings: loss, device, dtype and threads are taken from here.
        loop: the training loop.
        train_step, validate_step: instead of the loss.
        remake: `seed -> module`, the model with other first weights; None where it cannot be made
            anew.
        recipe: what another process can build the same learner from; None = it cannot.

    Raises:
        LearnerError: the module cannot take the sample, or its outputs do not fit the classes.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        classes: int | None,
        sample: torch.Tensor | None,
        settings: TrainingConfig,
        loop: TrainingLoop,
        train_step: TrainStep | None = None,
        validate_step: ValidateStep | None = None,
        remake: Callable[[int], torch.nn.Module] | None = None,
        recipe: DescribesLearner | None = None,
    ) -> None:
        self.recipe = recipe
        self.sample = sample
        self.folder: Path | None = None
        self.task = settings.task(classes)
        self.classes = classes
        self._settings = settings
        self.device = choose_device(settings.device)
        self.dtype = _DTYPES[settings.dtype]
        self.module = module.to(self.device, self.dtype)
        self._loop = loop
        self._remake = remake
        self._parameters = sum(p.numel() for p in self.module.parameters())
        self.threads = choose_threads(settings.threads, self._parameters)
        self._captures = Captures()
        self._own_proba = _method(self.module, "predict_proba")
        self._scoring = Scoring(
            self._forward, self.device, self.dtype, self._read,
            capture=settings.static_capture is not False
            and unrepeatable(self.module, self._own_proba) is None,
        )  # fmt: skip
        self._inside: Inside | None = None
        self._optimizer_state: Mapping[str, Any] | None = None
        self._first_weights = weights_to_bytes(self.module)
        self.loss = self._find_loss(sample, settings.loss)
        own_step = train_step or _method(self.module, "training_step")
        self.unrepeatable = unrepeatable(self.module, own_step)
        self.train_step = train_step or self._own_train_step() or self._loss_step
        self.validate_step = validate_step or self._own_validate_step() or self._loss_step

    def work_in(self, folder: Path) -> None:
        """The run's work folder; beside it several training processes find their job."""
        self.folder = folder.parent

    def _find_loss(self, sample: torch.Tensor | None, setting: str) -> str:
        if sample is None:
            return "own"
        self.module.eval()
        try:
            with torch.no_grad():
                outputs = self._outputs(sample)
        except (RuntimeError, ValueError, TypeError) as error:
            raise LearnerError(
                f"the model cannot take a sample of shape {tuple(sample.shape[1:])}: {error}"
            ) from error
        if not isinstance(outputs, torch.Tensor) or len(outputs) != len(sample):
            raise LearnerError(
                "the model must give one row per sample, not "
                f"{tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs)} "
                f"for {len(sample)} sample"
            )
        width = outputs.numel() // len(sample)
        if self.classes is not None and outputs.ndim > 2 and width > 1:
            raise LearnerError(
                f"the model must give logits (n, {self.classes}), not {tuple(outputs.shape)} for "
                f"{len(sample)} sample: flatten its outputs"
            )
        if self._own_proba is not None and setting == "auto":
            return "own"
        return choose_loss(setting, self.task, self.classes, width)

    def _own_train_step(self) -> TrainStep | None:
        own = _method(self.module, "training_step")
        return None if own is None else lambda model, batch: own(batch)

    def _own_validate_step(self) -> ValidateStep | None:
        own = _method(self.module, "validation_step") or _method(self.module, "validate_step")
        return None if own is None else lambda model, batch: own(batch)

    def _loss_step(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        if self.loss == "own":
            raise LearnerError(
                "a model with its own predict_proba needs its own training_step, a "
                "training.train_step_fn, or a training.loss"
            )
        features, targets = batch
        return LOSSES[self.loss](model(features), targets)

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Train the module in place, from the weights that `warm_start` says."""
        if job.settings.ranks > 1 and job.group.size == 1 and job.epochs:
            from querist.training.distributed.launch import fit_in_processes

            return fit_in_processes(self, labeled, job)
        if job.iteration > 0 and job.epochs:
            self._start_from(job)
        job = replace(
            job,
            device=self.device,
            dtype=self.dtype,
            train_step=self.train_step,
            validate_step=self.validate_step,
            unrepeatable=self.unrepeatable,
            captures=self._captures,
            optimizer_state=None if job.settings.reset_optimizer else self._optimizer_state,
        )
        with torch_threads(self.threads), seeded_globally(job.epoch_seed(0)):
            report = self._loop(self.module, labeled, job)
        self.module.eval()
        self._optimizer_state = report.optimizer_state
        return report

    def _start_from(self, job: TrainingJob) -> None:
        """Bring the weights to where `warm_start` wants an iteration to begin."""
        start = job.settings.warm_start
        if start.mode == "scratch":
            weights_from_bytes(self.module, self._first_weights)
        elif start.mode == "shrink_and_perturb":
            if self._remake is None:
                raise LearnerError(
                    "warm_start shrink_and_perturb needs a model that can be made anew: name it "
                    "in the configuration, or give TorchLearner remake"
                )
            fresh = self._remake(derive_seed(job.seed, job.iteration, "train", "fresh weights"))
            shrink_and_perturb(
                self.module, fresh, shrink=start.shrink, perturb=start.perturb
            )

    def _outputs(self, features: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.module(to_device(features, self.device, self.dtype))
        return outputs

    def _score(self, features: torch.Tensor) -> torch.Tensor:
        """What `_forward` gives for every row, on the CPU."""
        return self.predicted(features).cpu()

    def predicted(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities `(n, c)` or numbers of every row, on the device."""
        self.module.eval()
        with torch_threads(self.threads), tensor_cores(self._settings):
            return self._scoring.on_device(features)

    def _forward(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities, or numbers, of rows that are on the device."""
        if self.task is Task.REGRESSION:
            outputs: torch.Tensor = self.module(features)
            return outputs.float()
        if self._own_proba is not None:
            found: torch.Tensor = self._own_proba(features)
            return found.float()
        return probabilities(self.module(features).float(), self.loss)

    def _read(self) -> list[torch.Tensor]:
        """What predictions depend on."""
        return [*self.module.parameters(), *self.module.buffers()]

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities `(n, c)` of classes, or of each label.

        Raises:
            LearnerError: the learner predicts numbers.
        """
        refuse_numbers(self.task)
        return self._score(features)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`, labels `(n, c)`, 0 or 1, or numbers `(n,)` or `(n, d)`."""
        if self.task.has_probabilities:
            return decided(self.predict_proba(features), self.task)
        outputs = self._score(features)
        return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs

    @property
    def views(self) -> frozenset[View]:
        """Embeddings and logits, as far as the module lets look into it."""
        return self._look_inside().views

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Some of `views`, from one pass, on the learner's device."""
        return self._look_inside().look(views, features)

    def _look_inside(self) -> Inside:
        if self._inside is None:
            self._inside = Inside(self)
        return self._inside

    def state_files(self) -> dict[str, bytes]:
        """The weights as safetensors; the optimizer's state and the first weights beside them."""
        state = {
            "optimizer": None if self._optimizer_state is None else dict(self._optimizer_state)
        }
        return {WEIGHTS: weights_to_bytes(self.module), TRAINING_STATE: state_to_bytes(state)}

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`."""
        weights_from_bytes(self.module, files[WEIGHTS])
        self._optimizer_state = state_from_bytes(files[TRAINING_STATE])["optimizer"]
        self.module.eval()

    def reset(self) -> None:
        """Back to the first weights, with no optimizer state."""
        weights_from_bytes(self.module, self._first_weights)
        self._optimizer_state = None


def _method(module: torch.nn.Module, name: str) -> Callable[..., Any] | None:
    found = getattr(module, name, None)
    return found if callable(found) else None
