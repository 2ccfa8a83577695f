"""What goes on inside a torch learner's module: embeddings and logits, beside its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from querist.errors import LearnerError
from querist.learners.last_layer import LastLayer
from querist.learners.losses import probabilities
from querist.learners.scoring import CHUNK, CUDA_CHUNK
from querist.training.batches import to_device
from querist.training.devices import on_device
from querist.training.threads import torch_threads
from querist.values import Task
from querist.views import View

if TYPE_CHECKING:
    from querist.learners.torch_learner import TorchLearner


class Inside:
    """Views of a torch learner.

    Embeddings are what goes into the module's last `nn.Linear`, seen by a hook, or what the
    module's own `embed(features) -> (n, d)` gives.

    Args:
        learner: whose module it is.
    """

    def __init__(self, learner: TorchLearner) -> None:
        self._learner = learner
        own = getattr(learner.module, "embed", None)
        self._embed: Callable[[torch.Tensor], torch.Tensor] | None = own if callable(own) else None
        self._last = None if self._embed is not None else _last_layer(learner)
        self.views = frozenset(self._known())

    def _known(self) -> set[View]:
        learner = self._learner
        found = {View.NUMBERS}
        if learner.task is Task.CLASSIFICATION:
            found = {View.PROBABILITIES}
            if learner.loss != "own":
                found.add(View.LOGITS)
        elif learner.task is Task.MULTILABEL:
            found = {View.LABEL_PROBABILITIES}
        if self._embed is not None or self._last is not None:
            found.add(View.EMBEDDINGS)
        return found

    def look(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A tensor for each of `views`, on the device."""
        learner = self._learner
        if View.EMBEDDINGS not in views and View.LOGITS not in views:
            return (learner.predicted(features),) * len(views)  # only one other is in `self.views`
        learner.module.eval()
        size = CHUNK if learner.device.type == "cpu" else CUDA_CHUNK
        with torch.no_grad(), on_device(learner.device), torch_threads(learner.threads):
            parts = [self._chunk(views, part) for part in features.split(size)]
        return tuple(column[0] if len(column) == 1 else torch.cat(column)
                     for column in zip(*parts, strict=True))  # fmt: skip

    def _chunk(self, views: Sequence[View], features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        learner = self._learner
        there: Any = to_device(features, learner.device, learner.dtype)
        embeddings, outputs = None, None
        if self._embed is not None and View.EMBEDDINGS in views:
            embeddings = self._embed(there)
        elif self._last is not None and View.EMBEDDINGS in views:
            embeddings, outputs = self._last.inside(there)
        if outputs is None and set(views) != {View.EMBEDDINGS}:
            outputs = learner.module(there)
        return tuple(self._value(view, embeddings, outputs, there) for view in views)

    def _value(
        self,
        view: View,
        embeddings: torch.Tensor | None,
        outputs: torch.Tensor | None,
        features: torch.Tensor,
    ) -> torch.Tensor:
        if view is View.EMBEDDINGS:
            assert embeddings is not None
            return embeddings.float().flatten(1)
        assert outputs is not None
        if view is View.NUMBERS:
            return outputs.float()
        if self._learner.loss == "own":
            found: torch.Tensor = self._learner.module.predict_proba(features)  # type: ignore[operator]
            return found.float()
        if view is View.LOGITS:
            return _logits(outputs.float(), self._learner.loss)
        return probabilities(outputs.float(), self._learner.loss)


def _logits(outputs: torch.Tensor, loss: str) -> torch.Tensor:
    """Logits of all classes `(n, c)`: one logit is that of the second class, beside 0."""
    if loss == "bce_with_logits":
        positive = outputs.reshape(-1)
        return torch.stack([torch.zeros_like(positive), positive], dim=1)
    return outputs


def _last_layer(learner: TorchLearner) -> LastLayer | None:
    if learner.sample is None:
        return None
    try:
        with torch_threads(learner.threads), on_device(learner.device):
            sample: Any = to_device(learner.sample, learner.device, learner.dtype)
            return LastLayer(learner.module, sample)
    except LearnerError:
        return None
