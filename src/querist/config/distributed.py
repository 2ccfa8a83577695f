"""Settings of training in several processes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from querist.config.group import Group


class DistributedConfig(Group):
    """How the processes of a training find each other, and what happens when one dies."""

    backend: Literal["auto", "gloo", "nccl"] = "auto"
    """What they talk by. `auto`: nccl where every process has a GPU, else gloo."""

    launcher: Literal["auto", "torchrun", "ray"] = "auto"
    """What starts them. `auto`: Ray Train where the run's steps are on Ray, else torchrun."""

    nodes: int = Field(default=1, ge=1, le=1024)
    """Machines; each has `training.processes` of them. The others are told in the log how to join,
    and see the run's folder under the same path."""

    rendezvous: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_.:\[\]-]+:\d{1,5}$", max_length=300
    )
    """`host:port` of the first machine, where the others find it. Needed with several nodes."""

    find_unused_parameters: bool = False
    """Allow steps in which some weights get no gradient; costs a walk through the graph."""

    sync_batchnorm: bool = False
    """Batch normalization over the batches of all processes instead of each one's own."""

    max_restarts: int = Field(default=3, ge=0, le=100)
    """How often all processes are started again after one of them died. They go on from the last
    state that `training.checkpoint_epochs` kept, or from the beginning."""

    timeout_seconds: float = Field(default=1800.0, ge=1.0, le=1e6)
    """How long a process waits for the others before it counts them as dead."""

    @model_validator(mode="after")
    def _nodes_meet_somewhere(self) -> Self:
        if self.nodes > 1 and self.rendezvous is None:
            raise ValueError(
                f"{self.nodes} nodes meet at an address: set training.distributed.rendezvous to "
                "host:port of the first one"
            )
        if self.nodes == 1 and self.rendezvous is not None:
            raise ValueError(
                "rendezvous has no effect with one node: set training.distributed.nodes or remove "
                "it"
            )
        if self.nodes > 1 and self.launcher == "ray":
            raise ValueError(
                "Ray places processes on machines by itself: remove training.distributed.nodes, or "
                "set launcher to torchrun"
            )
        return self
