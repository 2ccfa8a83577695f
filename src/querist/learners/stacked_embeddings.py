"""Embeddings of stacked members, side by side, from one batched pass."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch.func import functional_call

from querist.learners.last_layer import LastLayer
from querist.learners.stacked import StackedMembers


class StackedEmbeddings:
    """What goes into the last layer of each member, or what its own `embed` gives.

    Args:
        stack: the members.
        sample: features of one sample `(1, ...)`, on their device.

    Raises:
        LearnerError: the members' outputs are not those of a linear layer, and they do not embed.
    """

    def __init__(self, stack: StackedMembers, sample: torch.Tensor) -> None:
        self._stack = stack
        self._embeds = callable(getattr(stack.member, "embed", None))
        self._layer = ""
        if not self._embeds:
            first = _first(stack)
            last = LastLayer(first, sample).layer
            self._layer = next(name for name, part in first.named_modules() if part is last)

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """The embeddings of all members `(n, k d)`: squared distances are their sums."""
        member = self._stack.member
        state = {**dict(member.named_parameters()), **dict(member.named_buffers())}
        one = _Embedding(member)
        named = {f"member.{name}": tensor for name, tensor in state.items()}

        def embedded(own: Mapping[str, torch.Tensor]) -> torch.Tensor:
            found: torch.Tensor = functional_call(one, dict(own), (features,))
            return found

        def seen(own: Mapping[str, torch.Tensor]) -> torch.Tensor:
            given: list[torch.Tensor] = []
            layer = member.get_submodule(self._layer)
            hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
            try:
                functional_call(member, dict(own), (features,))
            finally:
                hook.remove()
            return given[-1]

        if self._embeds:
            found = torch.vmap(embedded, randomness="different")(named)
        else:
            found = torch.vmap(seen, randomness="different")(state)
        return found.float().movedim(0, 1).flatten(1)


class _Embedding(torch.nn.Module):
    """A module whose outputs are the embeddings of another one."""

    def __init__(self, member: torch.nn.Module) -> None:
        super().__init__()
        self.member = member

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.member.embed(features)  # type: ignore[operator]
        return found


def _first(stack: StackedMembers) -> torch.nn.Module:
    """A copy of the first member."""
    first = copy.deepcopy(stack.member)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.data = parameter.data[0].clone()
        for part in first.modules():
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, buffer[0].clone())
    return first.eval()
