"""A training step recorded as a list of plain operations, and replayed without Python and autograd.

Forward, backward and optimizer of one real step are watched where torch dispatches them. What was
seen is a straight list of operations on the step's inputs: weights, buffers, optimizer state and
batch. It becomes a graph for TorchScript's interpreter. For a small model on a CPU a step is mostly
Python and the bookkeeping of autograd, so this is several times as fast, with the same bits.

The graph is written in TorchScript's own language rather than traced: its tracer leaves out
operations that return nothing, such as the fused optimizers. Its optimizer leaves them out as well,
so it has to be off (`interpreted`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Tensors = Sequence[torch.Tensor]

_DTYPES = {
    torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4,
    torch.float16: 5, torch.float32: 6, torch.float64: 7, torch.bool: 11, torch.bfloat16: 15,
}  # fmt: skip
_NUMBERS: dict[Any, int] = {
    **_DTYPES, torch.strided: 0, torch.contiguous_format: 0, torch.preserve_format: 1,
    torch.channels_last: 2, torch.channels_last_3d: 3,
}  # fmt: skip


class CaptureError(Exception):
    """A step cannot be captured, and why. Training goes on without: it leaves no training loop."""


class _Watch(TorchDispatchMode):
    """Writes down every operation."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler (1.1 s, 60 MB) to keep it away from this class."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # What is kept here stays alive, so that no two tensors of a step share an address.
        self.calls.append((func, args, kwargs or {}, result))
        return result


class Recording:
    """The operations of a step.

    Args:
        step: takes one step on `inputs` and returns its loss. It is called once, here.
        inputs: every tensor that the step reads or changes and that outlives it.

    Attributes:
        loss: what the step has returned.
        inputs: as given.
        calls: operation, arguments, keyword arguments, result.
    """

    def __init__(self, step: Callable[[], torch.Tensor], inputs: Tensors) -> None:
        self.inputs = inputs
        with _Watch() as watch:
            self.loss = step()
        self.calls = watch.calls


class OperationGraph:
    """A recorded step for TorchScript's interpreter.

    Args:
        recording: the step.
        before: copies of its inputs as they were before.
        random_state: the default generator's before it.

    Raises:
        CaptureError: an operation depends on values, not on shapes alone; or the graph does not do
            what the step has done, bit for bit.
    """

    def __init__(
        self, recording: Recording, before: Tensors, random_state: torch.Tensor
    ) -> None:
        text = _Text(recording)
        self._constants = text.constants
        try:
            graph = torch._C.parse_ir(text.write())
            self._run = torch._C._create_function_from_graph("step", graph)
            again = [tensor.clone() for tensor in before]
            with torch.random.fork_rng(devices=()), interpreted():
                torch.default_generator.set_state(random_state)
                loss = self(again)
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise CaptureError(f"TorchScript cannot run it: {said:.300}") from error
        pairs = [(loss, recording.loss), *zip(again, recording.inputs, strict=True)]
        if not all(same_bits(mine, theirs) for mine, theirs in pairs):
            raise CaptureError("its replay differs from the step itself")

    def __call__(self, inputs: Tensors) -> torch.Tensor:
        """One step on these inputs, of which weights and state are changed; returns the loss."""
        if torch._C._get_graph_executor_optimize():
            raise RuntimeError("a captured step is replayed inside of `interpreted()` only")
        loss: torch.Tensor = self._run(*inputs, *self._constants)
        return loss


def interpreted() -> AbstractContextManager[object]:
    """Inside, and in this thread, TorchScript runs operations as they are."""
    found: AbstractContextManager[object] = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    return found


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of one kind hold the same bits, NaN and signs of zeros included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    mine, theirs = (t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(mine, theirs)


class _Text:
    """A recording as TorchScript's intermediate representation.

    A tensor is known by its identity, or by its place in memory: autograd hands out new tensors
    over the same memory. What no operation has made is a constant, handed in as it is.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._names: dict[Any, str] = {}
        self._count = 0
        self._lines: list[str] = []
        self._arguments = [self._known(tensor) for tensor in recording.inputs]
        self.constants: list[torch.Tensor] = []

    def write(self) -> str:
        """The graph: inputs, then constants; returns the loss."""
        for call in self._recording.calls:
            if call[0].namespace != "profiler":
                self._operation(*call)
        loss = self._tensor(self._recording.loss)
        arguments = ", ".join(f"{name} : Tensor" for name in self._arguments)
        return "\n".join([f"graph({arguments}):", *self._lines, f"  return ({loss})"])

    def _name(self) -> str:
        self._count += 1
        return f"%{self._count}"

    def _known(self, tensor: torch.Tensor) -> str:
        name = self._name()
        self._names[id(tensor)] = self._names[_place(tensor)] = name
        return name

    def _tensor(self, tensor: torch.Tensor) -> str:
        name = self._names.get(id(tensor)) or self._names.get(_place(tensor))
        if name is None:
            self.constants.append(tensor)
            name = self._known(tensor)
            self._arguments.append(name)
        return name

    def _operation(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            raise CaptureError(f"{func} depends on values of the batch or of the weights")
        given = []
        for place, argument in enumerate(func._schema.arguments):
            if place < len(args) and not argument.kwarg_only:
                value = args[place]
            elif argument.name in kwargs:
                value = kwargs[argument.name]
            else:
                value = argument.default_value
            if str(argument.type) == "Tensor" and isinstance(value, int | float):
                # A number in a tensor's place does not widen the result, as a tensor might.
                beside = next((part for part in args if isinstance(part, torch.Tensor)), None)
                if beside is None:
                    raise CaptureError(f"{func} takes numbers alone")
                if beside.dtype.itemsize < 4 and beside.is_floating_point():
                    raise CaptureError(f"{func} would round a number to half precision")
                value = torch.tensor(value, dtype=torch.result_type(beside, value))
            given.append(self._value(value, str(argument.type)))
        call = f"{func._schema.name}({', '.join(given)})"
        returned = result if isinstance(result, tuple) else () if result is None else (result,)
        if not returned:
            self._lines.append(f"  {call}")
            return
        names, unpacked = [], []
        for part in returned:
            if isinstance(part, torch.Tensor):
                names.append(f"{self._known(part)} : Tensor")
            elif part is None:  # a gradient that nobody wants
                names.append(f"{self._name()} : Tensor")
            elif isinstance(part, list) and all(isinstance(t, torch.Tensor) for t in part):
                whole = self._name()
                names.append(f"{whole} : Tensor[]")
                each = ", ".join(f"{self._known(tensor)} : Tensor" for tensor in part)
                unpacked.append(f"  {each} = prim::ListUnpack({whole})")
            else:
                raise CaptureError(f"{func} depends on values of the batch or of the weights")
        self._lines += [f"  {', '.join(names)} = {call}", *unpacked]

    def _value(self, value: Any, kind: str) -> str:
        """The name of an argument's value; `kind` is its type in the operation's schema."""
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, list | tuple):
            inner = kind.removeprefix("Optional[").removeprefix("List[").rstrip("]")
            parts = [self._value(part, inner) for part in value]
            optional = "?" if "List[Optional[" in kind else ""
            return self._line(f"{inner}{optional}[]", f"prim::ListConstruct({', '.join(parts)})")
        return self._line(*_constant(value, kind))

    def _line(self, kind: str, value: str) -> str:
        name = self._name()
        self._lines.append(f"  {name} : {kind} = {value}")
        return name


def _constant(value: Any, kind: str) -> tuple[str, str]:
    """Type and text of a constant."""
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        value = _NUMBERS.get(value, value)
    if value is None:
        return "NoneType", "prim::Constant()"
    if isinstance(value, bool):
        return "bool", f"prim::Constant[value={int(value)}]()"
    if isinstance(value, int) and "float" not in kind:
        return "int", f"prim::Constant[value={value}]()"
    if isinstance(value, int | float) and math.isfinite(value):
        digits, e, power = repr(float(value)).partition("e")
        text = f"{digits if '.' in digits else digits + '.'}{e}{power}"
        return "float", f"prim::Constant[value={text}]()"
    if isinstance(value, torch.device):
        return "Device", f'prim::Constant[value="{value}"]()'
    if isinstance(value, str) and value.isidentifier():
        return "str", f'prim::Constant[value="{value}"]()'
    raise CaptureError(f"an operation takes {value!r:.60}, which cannot be written down")


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype
