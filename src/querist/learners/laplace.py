"""Last-layer Laplace: a Gaussian about the trained weights of the last layer.

Daxberger et al., Laplace Redux - Effortless Bayesian Deep Learning, 2021, arXiv:2106.14806;
Kristiadi, Hein and Hennig, Being Bayesian, Even Just a Bit, Fixes Overconfidence in ReLU Networks,
2020, arXiv:2002.10118. Probabilities by MacKay's approximation (1992): logits are divided by
√(1 + π/8 · variance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from querist.errors import ConfigurationError, LearnerError
from querist.learners.build import LearnerContext
from querist.learners.curvature import (
    Curvature,
    curvature_from,
    curvature_of_classes,
    curvature_of_numbers,
    no_curvature,
    root_of_sigmoid,
    root_of_softmax,
)
from querist.learners.evidence import best_noise, best_prior
from querist.learners.last_layer import LastLayer
from querist.learners.losses import probabilities
from querist.learners.member import named_member, torch_member
from querist.learners.passes import in_chunks
from querist.learners.samples import decided, refuse_numbers, without_single_column
from querist.learners.scoring import CHUNK
from querist.learners.torch_learner import TorchLearner
from querist.pools.labeled import LabeledSet
from querist.protocols import Learner
from querist.randomness import derive_seed
from querist.registry import register
from querist.training.batches import to_device
from querist.training.job import TrainingJob, TrainingReport
from querist.training.threads import torch_threads
from querist.values import Task
from querist.views import View

MOST = 10_000
_STATE = "laplace.safetensors"


@register("learner", "laplace")
class Laplace:
    """A torch module whose last layer's weights are uncertain; nothing about its training changes.

    Up to 1,024 weights (bias included) have their whole covariance, more are Kronecker-factored.

    Args:
        member: a module whose outputs are those of an `nn.Linear`, `{name: ..., options: {...}}`.
        prior_precision: of the weights, above 0; `auto` = under which the labels are most likely.
        samples: how many draws of the weights `predict_proba_samples` gives.
    """

    def __init__(
        self,
        member: str | Mapping[str, Any],
        prior_precision: float | Literal["auto"] = 1.0,
        samples: int = 20,
    ) -> None:
        if prior_precision != "auto" and not _is_precision(prior_precision):
            raise ConfigurationError(
                f"prior_precision is a number above 0 or auto, not {prior_precision!r:.80}: "
                "change it"
            )
        if isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= MOST:
            raise ConfigurationError(
                f"samples of laplace is 1 to {MOST}, not {samples!r:.80}: change it"
            )
        self._member = named_member("laplace", member)
        self._prior = None if prior_precision == "auto" else float(prior_precision)
        self._samples = samples

    def make_learner(self, context: LearnerContext) -> Learner:
        """The module with first weights, and the prior alone.

        Raises:
            LearnerError: the member is no module, or its outputs are not those of a last layer.
        """
        if context.sample is None:
            raise LearnerError(
                "laplace must know what the model is given, and the pool's items are known to your "
                "own steps alone: use a pool of tensors"
            )
        member = torch_member("laplace", self._member, context)
        return LaplaceLearner(
            member,
            sample=context.sample,
            prior=self._prior,
            samples=self._samples,
            seed=derive_seed(context.seed, 0, "setup", "laplace draws"),
        )


def _is_precision(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


class LaplaceLearner:
    """Trains a module as usual, then finds the curvature of its last layer.

    Before it is fitted, the weights are as uncertain as the prior says.

    Args:
        member: a learner whose module ends in an `nn.Linear`.
        sample: features of one sample `(1, ...)`.
        prior: precision of the weights; None = by the marginal likelihood.
        samples: draws of the weights.
        seed: of the draws before it is fitted.

    Raises:
        LearnerError: the loss is not cross-entropy or squared error, or there is no last layer.
    """

    def __init__(
        self,
        member: TorchLearner,
        *,
        sample: torch.Tensor,
        prior: float | None,
        samples: int,
        seed: int,
    ) -> None:
        if member.loss not in ("cross_entropy", "bce_with_logits", "mse"):
            raise LearnerError(
                "laplace knows the curvature of cross_entropy, bce_with_logits and mse, not of "
                f"the loss {member.loss}: set training.loss, and remove a predict_proba of the "
                "model's own"
            )
        self._member = member
        self._layer = LastLayer(member.module, to_device(sample, member.device, member.dtype))
        self._given = prior
        self._samples = samples
        self._first_seed = seed
        self.task = member.task
        self.classes = member.classes
        self.device = member.device
        self.dtype = member.dtype
        # In double precision, which not every device has.
        self._at = self.device if self.device.type == "cuda" else torch.device("cpu")
        self._fitted = False
        self._forget()

    def _forget(self) -> None:
        self._fitted = False
        curvature = no_curvature(self._layer.outputs, self._layer.inputs)
        self._use(curvature, self._given or 1.0, 1.0, self._first_seed)

    def _use(self, curvature: Curvature, prior: float, noise: float, seed: int) -> None:
        """Predict by this posterior from now on."""
        # Laid out as a file has them: how a product rounds depends on it.
        tensors = {n: t.to(self._at).contiguous() for n, t in curvature.tensors().items()}
        self._curvature = curvature_from(tensors)
        self.prior, self.noise, self._seed = prior, noise, seed
        self._variances = self._curvature.variances(prior)
        shape = (self._samples, self._layer.outputs, self._layer.inputs)
        drawn = torch.Generator().manual_seed(seed)
        normal = torch.randn(shape, generator=drawn, dtype=torch.float64).to(self._at)
        self._draws = self._curvature.draws(normal, prior)

    def fit(self, labeled: LabeledSet, job: TrainingJob) -> TrainingReport:
        """Train the module, then pass all labels once more for the curvature."""
        report = self._member.fit(labeled, job)
        with torch.no_grad(), torch_threads(self._member.threads):
            self._member.module.eval()
            curvature, prior, noise = self._posterior(labeled)
            seed = derive_seed(job.seed, job.iteration, "train", "laplace draws")
            self._use(curvature, prior, noise, seed)
        self._fitted = True
        return report

    def _posterior(self, labeled: LabeledSet) -> tuple[Curvature, float, float]:
        """Curvature, prior precision, and variance of the noise (1 for classes)."""
        norm = self._layer.squared_norm()
        if self.task is Task.CLASSIFICATION:
            curvature = curvature_of_classes(
                (inputs, self._roots(outputs)) for inputs, outputs, _ in self._passes(labeled)
            )
            prior = self._given or best_prior(curvature.eigenvalues(), norm)
            return curvature, prior, 1.0
        errors: list[float] = []

        def inputs_of() -> Iterator[torch.Tensor]:
            for inputs, outputs, targets in self._passes(labeled):
                errors.append(float((outputs - targets.reshape(outputs.shape)).square().sum()))
                yield inputs

        numbers = curvature_of_numbers(inputs_of(), self._layer.outputs)
        prior, noise = best_noise(
            numbers.eigenvalues(), norm, squared_error=sum(errors),
            numbers=labeled.targets.numel(), prior=self._given,
        )  # fmt: skip
        return numbers.scaled(1 / noise), prior, noise

    def _passes(
        self, labeled: LabeledSet
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Inputs of the layer, outputs and targets of all labels, in double precision."""
        for rows in torch.arange(len(labeled)).split(CHUNK):
            features = labeled.pool.features(labeled.indices[rows])
            inputs, outputs = self._pass(to_device(features, self.device, self.dtype))
            yield inputs, outputs, labeled.targets[rows].to(self._at, torch.float64)

    def _pass(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs of the layer `(n, d)` and outputs `(n, c)`."""
        inputs, outputs = self._layer.passed(features)
        return inputs.to(self._at, torch.float64), outputs.to(self._at, torch.float64)

    def _roots(self, outputs: torch.Tensor) -> torch.Tensor:
        if self._member.loss == "bce_with_logits":
            return root_of_sigmoid(outputs[:, 0].sigmoid())
        return root_of_softmax(outputs.softmax(1))

    def predict_proba(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities `(n, c)`, less sure where the last layer's weights are uncertain.

        Raises:
            LearnerError: the learner predicts numbers.
        """
        refuse_numbers(self.task)

        def one(part: torch.Tensor) -> torch.Tensor:
            inputs, outputs = self._pass(part)
            shrunk = outputs / (1 + math.pi / 8 * self._variances.of(inputs)).sqrt()
            return probabilities(shrunk, self._member.loss)

        return in_chunks(self._member, features, one)

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(n,)`, or the module's numbers `(n,)` or `(n, d)`."""
        if self.task is Task.CLASSIFICATION:
            return self.predict_proba(features).argmax(1)
        return self._member.predict(features)

    def predict_variance(self, features: torch.Tensor) -> torch.Tensor:
        """Variances of what would be observed `(n,)` or `(n, d)`: the weights' plus the noise's.

        Raises:
            LearnerError: the learner predicts classes.
        """
        if self.task is Task.CLASSIFICATION:
            raise LearnerError("classes have probabilities, predict_variance is for numbers")
        found = in_chunks(
            self._member,
            features,
            lambda part: self._variances.of(self._pass(part)[0]) + self.noise,
        )
        return found[:, 0] if self._layer.outputs == 1 else found

    def predict_proba_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each draw of the weights `(t, n, c)`.

        Their mean is what `predict_proba` approximates.

        Raises:
            LearnerError: the learner predicts numbers.
        """
        refuse_numbers(self.task)

        def one(part: torch.Tensor) -> torch.Tensor:
            return torch.stack([probabilities(o, self._member.loss) for o in self._drawn(part)])

        return in_chunks(self._member, features, one, rows=1)

    def predict_samples(self, features: torch.Tensor) -> torch.Tensor:
        """Class indices `(t, n)`, or numbers `(t, n)` or `(t, n, d)`, of each draw.

        Numbers come without the noise of observation.
        """
        if self.task.has_probabilities:
            return decided(self.predict_proba_samples(features), self.task)
        found = in_chunks(self._member, features, self._drawn, rows=1)
        return without_single_column(found)

    def _drawn(self, part: torch.Tensor) -> torch.Tensor:
        inputs, outputs = self._pass(part)
        return outputs + torch.einsum("nd,tcd->tnc", inputs, self._draws)

    @property
    def views(self) -> frozenset[View]:
        """The embeddings of its module, which is what its last layer is given."""
        return self._member.views & {View.EMBEDDINGS}

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The embeddings, on the learner's device."""
        return self._member.look(views, features)

    def state_files(self) -> dict[str, bytes]:
        """The module's files, and once it was fitted the factors of the curvature."""
        files = self._member.state_files()
        if not self._fitted:
            return files
        tensors = {n: t.cpu().contiguous() for n, t in self._curvature.tensors().items()}
        tensors["prior_and_noise"] = torch.tensor([self.prior, self.noise], dtype=torch.float64)
        tensors["seed"] = torch.tensor(self._seed)
        return {**files, _STATE: save_safetensors(tensors)}

    def load_state_files(self, files: Mapping[str, bytes]) -> None:
        """The inverse of `state_files`."""
        self._member.load_state_files(files)
        if _STATE not in files:
            self._forget()
            return
        tensors = load_safetensors(files[_STATE])
        prior, noise = tensors.pop("prior_and_noise").tolist()
        seed = int(tensors.pop("seed"))
        with torch_threads(self._member.threads):
            self._use(curvature_from(tensors), prior, noise, seed)
        self._fitted = True

    def reset(self) -> None:
        """Back to the first weights and the prior."""
        self._member.reset()
        self._forget()
