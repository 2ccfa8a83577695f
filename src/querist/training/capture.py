"""Static capture: a training step is recorded once, and replayed for batches of the same shape.

On the CPU a step becomes a graph of plain operations (`recording`), on an NVIDIA GPU a CUDA graph
(`cuda_graphs`). What was captured for one shape of batches is of no use for another; nor where the
weights' shapes, the optimizer or its settings change. The learning rate may change: it is a tensor
of the step where the optimizer takes one, else each rate is captured anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from querist.faults import crash_point
from querist.training.captures import Captures, Graph
from querist.training.clock import EVERY, Clock
from querist.training.job import TrainingJob
from querist.training.nested import leaves
from querist.training.recording import (
    CaptureError,
    OperationGraph,
    Recording,
    Tensors,
    interpreted,
    same_bits,
)
from querist.training.repeatable import constants, skipped_hooks
from querist.training.steps import EagerStep
from querist.training.threads import SMALL_MODEL_PARAMETERS

MOST_GRAPHS = 64
"""Captured steps that a learner keeps; with more shapes than that nothing is gained."""

WARM_UP = {"cpu": 32, "cuda": 3}
"""Steps of one shape before it is captured: about what a capture costs."""

_RATE_IS_A_TENSOR = ("SGD", "Adam", "AdamW", "Adagrad")
"""Optimizers whose fused step takes the learning rate as a tensor."""

_log = logging.getLogger(__name__)


def why_not(job: TrainingJob, module: torch.nn.Module, optimizer: Any) -> str | None:
    """Why steps are not captured; None where it is tried."""
    wanted = job.settings.static_capture
    if wanted is False:
        return "training.static_capture is false"
    kind = job.device.type
    if kind not in WARM_UP:
        return f"nothing can be captured on {kind}"
    if job.group.size > 1:
        return "several processes train together"
    if isinstance(optimizer, torch.optim.LBFGS):
        return "LBFGS evaluates a batch as often as it likes"
    if not type(optimizer).__module__.startswith("torch.optim"):
        return f"{type(optimizer).__name__} is no optimizer of torch's"
    if hooks := skipped_hooks(module):
        return hooks
    if kind == "cpu" and job.settings.compile:
        return "the model is compiled"
    if job.settings.accumulate_batches > 1:
        return "gradients of several batches are averaged"
    if kind == "cpu" and job.settings.mixed_precision == "fp16":
        return "the scaling of fp16 looks at the gradients"
    if wanted == "auto":
        if job.unrepeatable is not None:
            return job.unrepeatable
        weights = sum(p.numel() for p in module.parameters())
        if kind == "cpu" and weights >= SMALL_MODEL_PARAMETERS:
            return f"with {weights:,} weights there is little to gain on a CPU"
    return None


class CapturedStep:
    """Takes the same steps as `EagerStep`, from captures where there are some.

    Args:
        eager: the step.
        job: says what may be captured.
        clock: told how long captures took.
        captures: what was captured before, and where new captures go.
    """

    def __init__(
        self, eager: EagerStep, job: TrainingJob, clock: Clock, captures: Captures
    ) -> None:
        self.eager = eager
        self._job = job
        self._clock = clock
        self._captures = captures
        self._basis: int | None = None
        self._state: list[torch.Tensor] = []
        self._rates = [
            torch.tensor(float(group["lr"]), dtype=torch.float64, device=job.device)
            for group in eager.optimizer.param_groups
        ]
        if job.device.type == "cuda":
            # Bound to the memory of an optimizer that is gone.
            captures.graphs.clear()
            captures.seen.clear()
        self._steps = 0
        self.replayed = 0
        self.reason: str | None = None

    @property
    def takes_rates(self) -> bool:
        """Whether the learning rate may change under a capture."""
        optimizer = self.eager.optimizer
        fused = all(group.get("fused") for group in optimizer.param_groups)
        return fused and type(optimizer).__name__ in _RATE_IS_A_TENSOR

    def begin_epoch(self) -> None:
        """The learning rate may have changed, and so may whatever else a capture rests on."""
        for rate, group in zip(self._rates, self.eager.optimizer.param_groups, strict=True):
            rate.fill_(float(group["lr"]))
        self._basis = None

    def __call__(self, batches: tuple[Any, ...]) -> torch.Tensor:
        """One optimizer step; returns its loss, on the device."""
        (batch,) = batches
        self._steps += 1
        if self._steps % EVERY == 1:
            self._basis = None  # the first step makes the optimizer's state
            return self.eager.timed(batches)
        tensors = leaves(batch)
        if not all(isinstance(leaf, torch.Tensor) for leaf in tensors):
            self._refuse("a batch holds something that is no tensor")
            return self.eager(batches)
        names = tuple(batch) if isinstance(batch, dict) else ()
        key = (self._what_it_rests_on(), names, *[(t.shape, t.dtype) for t in tensors])
        graph = self._captures.graphs.get(key)
        if graph is None:
            return self._record(key, batch, tensors)
        self.replayed += 1
        crash_point("train.step")
        return graph([*self._state, *tensors])

    def _what_it_rests_on(self) -> int:
        if self._basis is not None:
            return self._basis
        module, optimizer = self.eager.module, self.eager.optimizer
        settings, scaler = self._job.settings, self.eager.scaler
        state = [
            value
            for parameter in self.eager.parameters
            for value in optimizer.state.get(parameter, {}).values()
            if isinstance(value, torch.Tensor)
        ]
        # Over the same memory, but nothing that autograd would follow.
        weights = [p.detach() for p in (*self.eager.parameters, *module.buffers())]
        scales = [] if scaler is None else [scaler._scale, scaler._growth_tracker]
        self._state = [*weights, *state, *self._rates, *(t for t in scales if t is not None)]
        rates = () if self.takes_rates else tuple(group["lr"] for group in optimizer.param_groups)
        about = (
            self._job.train_step,
            (settings.mixed_precision, settings.tf32, settings.compile, settings.clip_grad_norm),
            type(optimizer),
            tuple(_options(group) for group in optimizer.param_groups),
            rates,
            tuple((t.shape, t.dtype) for t in self._state),
            tuple(p.requires_grad for p in self.eager.parameters),
            constants(module),
            # A CUDA graph is bound to the very memory that it was captured with.
            () if self._job.device.type == "cpu" else tuple(t.data_ptr() for t in self._state),
        )
        self._basis = self._captures.basis(about)
        return self._basis

    def _record(self, key: Any, batch: Any, tensors: list[torch.Tensor]) -> torch.Tensor:
        """Take the step, and capture it on the way if it has been seen often enough."""
        captures, kind = self._captures, self._job.device.type
        refused = captures.refused.get(key[0])
        seen = captures.seen[key] = captures.seen.get(key, 0) + 1
        if refused is None and len(captures.graphs) >= MOST_GRAPHS:
            refused = f"{MOST_GRAPHS} shapes of batches are captured already"
        if refused is not None:
            self._refuse(refused)
        if refused is not None or seen < WARM_UP[kind]:
            return self.eager((batch,))
        started = time.perf_counter()
        record = _record_operations if kind == "cpu" else _record_cuda_graph
        try:
            loss, graph = record(self, batch, tensors)
        finally:
            self.eager.forget_gradients()
            self._clock.add("capture", time.perf_counter() - started)
        if isinstance(graph, str):
            captures.refused[key[0]] = graph
            self._refuse(graph)
        else:
            captures.graphs[key] = graph
        return loss

    def step(self, batch: Any) -> torch.Tensor:
        """The step as it is recorded."""
        with self._rates_as_tensors():
            return self.eager.recorded((batch,))

    def places(self) -> tuple[int, ...]:
        """Where weights and buffers are."""
        module = self.eager.module
        return tuple(id(t) for t in (*module.parameters(), *module.buffers()))

    @property
    def state(self) -> list[torch.Tensor]:
        """All tensors that a step reads or changes and that outlive it."""
        return self._state

    @contextmanager
    def _rates_as_tensors(self) -> Iterator[None]:
        groups = self.eager.optimizer.param_groups
        if not self.takes_rates:
            yield
            return
        before = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate
        try:
            yield
        finally:
            for group, rate in zip(groups, before, strict=True):
                group["lr"] = rate

    def _refuse(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            tell(self._captures, self._job, reason)


def tell(captures: Captures, job: TrainingJob, reason: str) -> None:
    """Say why steps are not captured: once per learner, and loudly where capture was asked for."""
    if reason not in captures.told:
        captures.told.add(reason)
        level = logging.WARNING if job.settings.static_capture is True else logging.INFO
        _log.log(level, "training steps are not captured: %s", reason)


def _record_operations(
    step: CapturedStep, batch: Any, tensors: list[torch.Tensor]
) -> tuple[torch.Tensor, Graph | str]:
    """The step's loss, and its graph or why there is none.

    The step is taken as it is, taken back, and taken once more under the recorder's eyes: so a
    recording that fails, or that does something else, costs nothing but time.
    """
    inputs = [*step.state, *tensors]
    before, random_before = [t.clone() for t in inputs], torch.default_generator.get_state()
    places = step.places()
    loss = step.eager((batch,))
    if step.places() != places:
        return loss, "the step puts other tensors in the place of buffers or weights"
    after, random_after = [t.clone() for t in inputs], torch.default_generator.get_state()
    _put_back(inputs, before, random_before)
    try:
        recording = Recording(lambda: step.step(batch), inputs)
        pairs = [(loss, recording.loss), *zip(after, inputs, strict=True)]
        if not all(same_bits(mine, theirs) for mine, theirs in pairs):
            raise CaptureError("what was recorded differs from the step itself")
        return loss, OperationGraph(recording, before, random_before)
    except Exception as error:  # of whatever kind: the step itself was taken
        said = " ".join(str(error).split()) or type(error).__name__
        return loss, said if isinstance(error, CaptureError) else f"recording failed: {said:.200}"
    finally:
        _put_back(inputs, after, random_after)


@torch.no_grad()
def _put_back(inputs: Tensors, values: Tensors, random_state: torch.Tensor) -> None:
    for mine, value in zip(inputs, values, strict=True):
        mine.copy_(value)
    torch.default_generator.set_state(random_state)


def _record_cuda_graph(
    step: CapturedStep, batch: Any, tensors: list[torch.Tensor]
) -> tuple[torch.Tensor, Graph | str]:
    from querist.training.cuda_graphs import CudaGraph

    return CudaGraph.capture(step.step, batch, tensors, skip=len(step.state))


def _options(group: Mapping[str, Any]) -> tuple[Any, ...]:
    left_out = ("params", "lr", "initial_lr", "param_names")
    return tuple(sorted((k, str(v)) for k, v in group.items() if k not in left_out))


def replaying(device: torch.device) -> AbstractContextManager[object]:
    """What replays are done inside of."""
    return interpreted() if device.type == "cpu" else nullcontext()
