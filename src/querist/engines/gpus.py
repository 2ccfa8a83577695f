"""GPUs of this machine, dealt out so that no two learners share one by accident."""

from __future__ import annotations

import os

import torch

from querist.errors import ConfigurationError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them."""
    set_by_user = os.environ.get(VISIBLE)
    if set_by_user is not None:
        return [name.strip() for name in set_by_user.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


class GpuDealer:
    """Deals out GPUs.

    Args:
        each: how many a learner gets.
        learners: how many learners there are at once.
        names: the GPUs; by default those that this process may use.

    Raises:
        ConfigurationError: there are not enough for that.
    """

    def __init__(self, each: int, learners: int, names: list[str] | None = None) -> None:
        self.each = each
        self._free = (visible_gpus() if names is None else list(names)) if each else []
        if each * learners > len(self._free):
            raise ConfigurationError(
                f"{learners} learners at once with {each} GPUs each need {each * learners}, and "
                f"this process may use {len(self._free)}: lower parallel.max_parallel or "
                "parallel.resources.gpus"
            )

    def take(self) -> list[str]:
        """GPUs for one learner, which nobody else gets until they are given back."""
        taken, self._free = self._free[: self.each], self._free[self.each :]
        return taken

    def give_back(self, names: list[str]) -> None:
        """Let others have them."""
        self._free += names
