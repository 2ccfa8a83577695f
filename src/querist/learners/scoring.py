"""Running a module over many rows: in chunks, and on a GPU with the copies behind the computing.

On a GPU two chunks are under way at any time: one is copied while the other is computed, and what
is computed for a chunk was captured as a CUDA graph, since for a small model launching the kernels
takes longer than they do. Copies overlap only from page-locked memory; from other memory they are
as fast as torch makes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from querist.training.batches import to_device
from querist.training.devices import on_device

CHUNK = 65_536
"""Rows at once on the CPU."""

CUDA_CHUNK = 262_144
"""Rows at once on a GPU."""

_log = logging.getLogger(__name__)
Forward = Callable[[torch.Tensor], torch.Tensor]


def chunk_by_chunk(
    features: torch.Tensor,
    size: int,
    one: Forward,
    *,
    rows: int = 0,
) -> torch.Tensor:
    """What `one` gives for all features, `size` rows at a time; dimension `rows` counts rows."""
    parts = [one(part) for part in features.split(size)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=rows)


class Scoring:
    """Applies a function to rows, chunk by chunk, without gradients.

    Args:
        forward: from features `(m, ...)` on the device to rows `(m, ...)`, the same for each row
            whatever else is in the chunk.
        device: where it computes.
        dtype: of floating features.
        weights: what it reads; captured graphs are bound to their memory.
        capture: whether its kernels may be captured; only of use on a GPU.
    """

    def __init__(
        self,
        forward: Forward,
        device: torch.device,
        dtype: torch.dtype,
        weights: Callable[[], list[torch.Tensor]],
        *,
        capture: bool,
    ) -> None:
        self._forward = forward
        self._device, self._dtype = device, dtype
        self._weights = weights
        self._capture = capture and device.type == "cuda"
        self._key: Any = None
        self._slots: list[_Slot] = []

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """The function's rows for all features, on the CPU."""
        return self.on_device(features).cpu()

    def on_device(self, features: torch.Tensor) -> torch.Tensor:
        """The function's rows for all features, where they were computed."""
        with torch.no_grad(), on_device(self._device):
            if self._capture and len(features) >= CUDA_CHUNK:
                try:
                    return self._pipelined(features)
                except RuntimeError as error:
                    self._capture = False
                    _log.warning("scoring is not captured: %s", str(error).splitlines()[0])
            size = CHUNK if self._device.type == "cpu" else CUDA_CHUNK
            return chunk_by_chunk(features, size, lambda part: self._forward(self._there(part)))

    def _there(self, part: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = to_device(part, self._device, self._dtype)
        return found

    def _pipelined(self, features: torch.Tensor) -> torch.Tensor:
        row = features.shape[1:]
        key = row, features.dtype, tuple(weight.data_ptr() for weight in self._weights())
        if key != self._key:
            self._slots = [
                _Slot(self._forward, self._there(features[:CUDA_CHUNK]), features.dtype)
                for _ in range(2)
            ]
            self._key = key
        copying, computing = torch.cuda.Stream(), torch.cuda.current_stream()
        copying.wait_stream(computing)
        sample = self._slots[0].result
        found = sample.new_empty((len(features), *sample.shape[1:]))
        for number, part in enumerate(features.split(CUDA_CHUNK)):
            slot, rows = self._slots[number % 2], len(part)
            with torch.cuda.stream(copying):
                copying.wait_event(slot.free)
                slot.raw[:rows].copy_(part, non_blocking=True)
                slot.ready.record(copying)
            computing.wait_event(slot.ready)
            slot.graph.replay()
            begin = number * CUDA_CHUNK
            found[begin : begin + rows].copy_(slot.result[:rows])
            slot.free.record(computing)
        return found


class _Slot:
    """One of the two chunks that are under way: its memory, and its captured kernels."""

    def __init__(self, forward: Forward, example: torch.Tensor, dtype: torch.dtype) -> None:
        # Rows arrive as they are stored, and are converted on the device.
        self.raw = example.to(dtype).clone()
        self.ready, self.free = torch.cuda.Event(), torch.cuda.Event()
        beside, main = torch.cuda.Stream(), torch.cuda.current_stream()
        beside.wait_stream(main)
        with torch.cuda.stream(beside):
            for _ in range(2):
                forward(self.raw.to(example.dtype))
        main.wait_stream(beside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = forward(self.raw.to(example.dtype))
        self.free.record(main)
