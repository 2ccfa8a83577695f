"""Monte Carlo dropout: a network with dropout as many networks.

Gal and Ghahramani, Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep
Learning, 2016, arXiv:1506.02142.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from querist.errors import ConfigurationError, LearnerError
from querist.learners.build import LearnerContext
from querist.learners.losses import probabilities
from querist.learners.masks import Masks, dropout_layers
from querist.learners.member import named_member, torch_member
from querist.learners.passes import in_chunks
from querist.learners.samples import (
    MeanOfSamples,
    decided,
    refuse_numbers,
    without_single_column,
)
from querist.learners.torch_learner import TorchLearner
from querist.pools.labeled import LabeledSet
from querist.protocols import Learner
from querist.randomness import derive_seed
from querist.registry import register
from querist.training.job import TrainingJob, TrainingReport
from querist.views import View

MOST = 10_000
_STATE = "mc_dropout.json"


@register("learner", "mc_dropout")
class McDropout:
    """A torch module whose dropout stays on when it predicts; the mean over several masks.

    The masks are drawn anew after each training and then stay: all rows are seen by the same ones.

    Args:
        member: a module with dropout layers (`nn.Dropout` and its kin), `{name: ..., options:
            {...}}`. The first dimension of what these layers are passed must count samples.
        samples: how many masks.
    """

    def __init__(self, member: str | Mapping[str, Any], samples: int = 20) -> None:
        if isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= MOST:
            raise ConfigurationError(
                f"samples of mc_dropout is 1 to {MOST}, not {samples!r}: change it"
            )
        self._member = named_member("mc_dropout", member)
        self._samples = samples

    def make_learner(self, context: LearnerContext) -> Learner:
        """The module and its masks, with first weights.

        Raises:
            LearnerError: the member is no module, or has no dropout layer.
        """
        member = torch_member("mc_dropout", self._member, context)
        seed = derive_seed(context.seed, 0, "setup", "dropout masks")
        return McDropoutLearner(member, samples=self._samples, seed=seed)


class McDropoutLearner(MeanOfSamples):
    """Predicts the mean over masks of dropout.

    Args:
        member: a learner whose module has dropout layers.
        samples: how many masks.
        seed: of the masks before it is fitted.

    Raises:
        LearnerError: there is no dropout layer, or the module has a `predict_proba` of its own.
    """

    def __init__(self, member: TorchLearner, *, samples: int, seed: int) -> None:
        name = type(member.module).__name__
        if not dropout_layers(member.module):
            raise LearnerError(
                f"mc_dropout needs a model with dropout layers above 0, and {name} has none: add "
                "nn.Dropout to it (torch.nn.functional.dropout cannot be seen from outside)"
            )
        if member.loss == "own":
            raise LearnerError(
                f"mc_dropout turns a model's outputs into probabilities, and {name} has its own "
                "predict_proba or no known sample: remove it, or set training.loss"
            )
        self._member = member
        self._samples = samples
        self._first_seed = self._seed = seed
        self._masks = Masks(member.module)
        self.task = member.task
        self.classes = member.classes
        self.device = member.device
        self.dtype = member.dtype

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Train the module with dropout as usual, and draw new masks."""
        report = self._member.fit(labeled, job)
        self._use(derive_seed(job.seed, job.iteration, "train", "dropout masks"))
        return report

    def _use(self, seed: int) -> None:
        self._seed = seed
        self._masks.forget()

    def _outputs(self, features: torch.Tensor) -> torch.Tensor:
        """What the module gives under each mask `(t, n, ...)`, for features on the device."""
        found = []
        for number in range(self._samples):
            with self._masks.held(derive_seed(self._seed, number, "predict", "mask")):
                found.append(self._member.module(features).float())
        return torch.stack(found)

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities under each mask `(t, n, c)`.

        Raises:
            LearnerError: the learner predicts numbers.
        """
        refuse_numbers(self.task)

        def one(part: torch.Tensor) -> torch.Tensor:
            return torch.stack([probabilities(o, self._member.loss) for o in self._outputs(part)])

        return in_chunks(self._member, features, one, rows=1)

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(t, n)`, labels `(t, n, c)`, or numbers, under each mask."""
        if self.task.has_probabilities:
            return decided(self.predict_proba_samples(features), self.task)
        found = in_chunks(self._member, features, self._outputs, rows=1)
        return without_single_column(found)

    @property
    def views(self) -> frozenset[View]:
        """The embeddings of its module."""
        return self._member.views & {View.EMBEDDINGS}

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The embeddings with dropout off, on the learner's device."""
        return self._member.look(views, features)

    def state_files(self) -> dict[str, bytes]:
        """The module's files, and the seed of the masks."""
        return {**self._member.state_files(), _STATE: json.dumps({"seed": self._seed}).encode()}

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`."""
        self._member.load_state_files(files)
        self._use(int(json.loads(files[_STATE])["seed"]))

    def reset(self) -> None:
        """Back to the first weights and the first masks."""
        self._member.reset()
        self._use(self._first_seed)
