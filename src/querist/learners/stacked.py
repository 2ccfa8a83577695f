"""Several modules of one kind as one module, trained in one batched pass by `torch.func`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.func import functional_call

from querist.learners.losses import LOSSES, probabilities
from querist.randomness import seeded_globally
from querist.training.batches import to_device
from querist.training.repeatable import unrepeatable
from querist.values import Task

_ROWS = 3
_OWN_STEPS = ("training_step", "validation_step", "validate_step", "predict_proba")


class StackedMembers(torch.nn.Module):
    """Members of one architecture, each weight `(k, ...)`.

    Any training loop trains it as one module: `training_step` has the gradient of the sum of the
    members' losses, so that each member gets its own, and the value of their mean. Optimizers that
    treat every number alone (`ELEMENTWISE`) then do what they would do to each member alone.

    Args:
        members: at least two modules, of which `why_not_stacked` says None.
        loss: the name of their loss.
        task: what they predict.
        bootstrap: training batches come `with_counts`.
    """

    def __init__(
        self, members: Sequence[torch.nn.Module], *, loss: str, task: Task, bootstrap: bool = False
    ) -> None:
        super().__init__()
        self.number = len(members)
        self.bootstrap = bootstrap
        self.loss = loss
        self.task = task
        self.member = _stack(members)

    def unrepeatable(self) -> str | None:
        """Why a step may differ from call to call: what the member does, all else is the same."""
        return unrepeatable(self.member)

    def outputs(self, features: torch.Tensor) -> torch.Tensor:
        """What each member gives `(k, n, ...)`. Dropout draws other masks for each."""
        state = {**dict(self.member.named_parameters()), **dict(self.member.named_buffers())}

        def one(own: Mapping[str, torch.Tensor]) -> Any:
            return functional_call(self.member, dict(own), (features,))

        found: torch.Tensor = torch.vmap(one, randomness="different")(state)
        return found

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """Class probabilities of each member `(k, n, c)`."""
        return torch.stack([probabilities(o.float(), self.loss) for o in self.outputs(features)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """What the ensemble gives: logits of the members' mean probabilities, or mean numbers."""
        if self.task is Task.REGRESSION:
            return self.outputs(features).mean(0)
        if self.task is Task.MULTILABEL:
            return self.probabilities(features).mean(0).logit()
        logs = self.probabilities(features).mean(0).log()
        return logs[:, 1:] - logs[:, :1] if self.loss == "bce_with_logits" else logs

    def training_step(self, batch: Any) -> torch.Tensor:
        """The mean of the members' losses, with the gradient of their sum."""
        features, targets = batch
        outputs = self.outputs(features)
        if self.bootstrap:
            losses = self._weighted(outputs, targets[:, : -self.number], targets[:, -self.number :])
        else:
            losses = torch.vmap(LOSSES[self.loss], in_dims=(0, None))(outputs, targets)
        total = losses.sum()
        return losses.detach().mean() + (total - total.detach())

    def _weighted(
        self, outputs: torch.Tensor, targets: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        loss = LOSSES[self.loss]
        if targets.shape[1] == 1:
            targets = targets[:, 0]
        each = torch.vmap(lambda output, target: loss(output[None], target[None]))
        losses = torch.vmap(each, in_dims=(0, None))(outputs, targets)
        return (losses * counts.T).mean(1)

    def validation_step(self, batch: Any) -> torch.Tensor:
        """The mean of the members' losses."""
        features, targets = batch
        return torch.vmap(LOSSES[self.loss], in_dims=(0, None))(
            self.outputs(features), targets
        ).mean()


ELEMENTWISE = frozenset(
    {
        "adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop",
        "rprop", "sgd",
    }
)  # fmt: skip
"""Optimizers, in small letters, that treat every weight alone."""


def with_counts(targets: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Targets `(n,)` or `(n, d)` followed by how often each member sees the row: `(n, d + k)`.

    So a batch brings the counts with it, however the loop draws it.

    Args:
        targets: whole numbers or floats, whose type the counts take.
        counts: `(k, n)`.
    """
    columns = targets[:, None] if targets.ndim == 1 else targets
    return torch.cat([columns, counts.T.to(targets.dtype)], dim=1)


def _stack(members: Sequence[torch.nn.Module]) -> torch.nn.Module:
    """A copy of the first member whose weights and buffers are those of all, stacked."""
    stack = copy.deepcopy(members[0])
    made: dict[int, torch.nn.Parameter] = {}  # tied weights stay tied
    for name, first in list(stack.named_parameters(remove_duplicate=False)):
        if id(first) not in made:
            own = [member.get_parameter(name).detach() for member in members]
            made[id(first)] = torch.nn.Parameter(torch.stack(own), first.requires_grad)
        owner, _, leaf = name.rpartition(".")
        setattr(stack.get_submodule(owner), leaf, made[id(first)])
    for name, _ in list(stack.named_buffers(remove_duplicate=False)):
        owner, _, leaf = name.rpartition(".")
        stacked = torch.stack([member.get_buffer(name) for member in members])
        stack.get_submodule(owner)._buffers[leaf] = stacked
    return stack


def why_not_stacked(
    members: Sequence[torch.nn.Module],
    sample: torch.Tensor,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> str | None:
    """Why the members cannot be trained in one batched pass; None where they can.

    They are tried: a pass forth and back, and a pass compared with the members' own. What is fed
    to them depends on the shape of the sample alone, so that a restored ensemble is decided on as
    it was when it was trained.

    Args:
        members: modules of one architecture; they are left as they are.
        sample: features of one sample `(1, ...)`.
        device: where to try.
        dtype: type of floating features and weights.
    """  # fmt: skip
    for name in _OWN_STEPS:
        if callable(getattr(members[0], name, None)):
            return f"{type(members[0]).__name__} has its own {name}"
    features = to_device(_like(sample), device, dtype)
    copies = [copy.deepcopy(member).to(device, dtype) for member in members]
    try:
        with warnings.catch_warnings(record=True) as said, seeded_globally(0):
            warnings.simplefilter("always")
            return _tried(copies, features) or _slow(said)
    except Exception as error:  # whatever a user's module raises where it cannot be batched
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"torch.func cannot batch {type(members[0]).__name__}: {reason[:200]}"


def _like(sample: torch.Tensor) -> torch.Tensor:
    """Some rows of the sample's shape."""
    shape = (_ROWS, *sample.shape[1:])
    if not sample.is_floating_point():
        return sample.new_zeros(shape)
    drawn = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=drawn).to(sample.dtype)


def _tried(members: Sequence[torch.nn.Module], features: torch.Tensor) -> str | None:
    """What stands against a stack of these members, which are used up."""
    stack = StackedMembers(members, loss="mse", task=Task.REGRESSION)
    first = members[0].train()
    before = {name: buffer.clone() for name, buffer in first.named_buffers()}
    first(features)
    for name, buffer in first.named_buffers():
        if not torch.equal(before[name], buffer):
            return f"{type(first).__name__} keeps statistics in {name} while it learns"
    outputs = stack.train().outputs(features)
    if outputs.requires_grad:
        outputs.float().sum().backward()
    stack.eval()
    with torch.no_grad():
        alone = torch.stack([member.eval()(features) for member in members]).float()
        together = stack.outputs(features).float()
    size = float(alone.abs().max()) or 1.0
    if not torch.allclose(alone, together, rtol=0.02, atol=0.02 * size, equal_nan=True):
        return f"{type(first).__name__} gives something else in a batched pass"
    return None


def _slow(said: Sequence[warnings.WarningMessage]) -> str | None:
    for warning in said:
        if "batching rule" in str(warning.message):
            return f"torch has no batched form of all it does: {str(warning.message)[:150]}"
    return None
