"""A training step as a CUDA graph: one launch instead of one per kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from querist.training.recording import Tensors


class CudaGraph:
    """A step that replays what was captured, on batches that are copied to where it expects them.

    Args:
        graph: what was captured.
        batch: the tensors of the batch that the graph reads.
        loss: the tensor that it leaves the loss in.
        skip: how many of its inputs are weights and state, which the graph finds by itself.
    """

    def __init__(
        self, graph: torch.cuda.CUDAGraph, batch: Tensors, loss: torch.Tensor, skip: int
    ) -> None:
        self._graph = graph
        self._batch = batch
        self._loss = loss
        self._skip = skip

    @classmethod
    def capture(
        cls, step: Callable[[Any], torch.Tensor], batch: Any, leaves: Tensors, *, skip: int
    ) -> tuple[torch.Tensor, CudaGraph | str]:
        """Take the step once for real, capture it, and give its loss and the graph.

        In the place of the graph there are words where the step cannot be captured.
        """
        copies = [leaf.clone() for leaf in leaves]
        static = _with_leaves(batch, iter(copies))
        beside, main = torch.cuda.Stream(), torch.cuda.current_stream()
        beside.wait_stream(main)
        with torch.cuda.stream(beside):
            loss = step(static).clone()
        main.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                captured = step(static)
        except RuntimeError as error:
            torch.cuda.synchronize()
            return loss, f"CUDA cannot capture it: {str(error).strip().splitlines()[0]:.200}"
        return loss, cls(graph, copies, captured, skip)

    def __call__(self, inputs: Tensors) -> torch.Tensor:
        """One step on the batch that the inputs end with; returns its loss."""
        for mine, new in zip(self._batch, inputs[self._skip :], strict=True):
            mine.copy_(new, non_blocking=True)
        self._graph.replay()
        # The next replay overwrites it.
        return self._loss.clone()


def _with_leaves(batch: Any, leaves: Any) -> Any:
    """A batch of the same form with other tensors."""
    if isinstance(batch, torch.Tensor):
        return next(leaves)
    if isinstance(batch, Mapping):
        return {key: _with_leaves(part, leaves) for key, part in batch.items()}
    parts = [_with_leaves(part, leaves) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
