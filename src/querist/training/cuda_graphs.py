"""A training step as a CUDA graph: one launch instead of one per kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from querist.training.nested import with_tensors
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
        cls, step: Callable[[Any], torch.Tensor], batch: Any, tensors: Tensors, *, skip: int
    ) -> tuple[torch.Tensor, CudaGraph | str]:
        """Take the step once for real, capture it, and give its loss and the graph.

        In the place of the graph there are words where the step cannot be captured.
        """
        copies = [tensor.clone() for tensor in tensors]
        following = iter(copies)
        static = with_tensors(batch, lambda _: next(following))
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
