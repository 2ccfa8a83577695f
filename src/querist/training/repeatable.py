"""Whether a training step does the same each time it is called with batches of one shape.

A capture replays what was recorded once. Python that draws a random number, counts calls or reads
a list would be frozen in it without a word. So a step is captured unasked only if nothing of that
kind is in sight: the code of every module's `forward` (and of the user's step) is looked through,
and what is not known to be harmless counts as harmful. Plain numbers and texts that code may read
are harmless as long as they stay: a capture rests on their values (`constants`).
"""

from __future__ import annotations

import builtins
import dis
import inspect
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

_WRITES = ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "DELETE_ATTR", "DELETE_GLOBAL")
_HARMLESS = (
    "len", "range", "zip", "enumerate", "isinstance", "tuple", "list", "dict", "int", "float",
    "bool", "min", "max", "sum", "reversed", "abs", "sorted", "all", "any", "ValueError",
    "TypeError", "RuntimeError", "AssertionError", "NotImplementedError",
)  # fmt: skip
_VALUES = ("tolist", "numpy", "data_ptr", "storage", "untyped_storage", "apply_", "map_")
"""Methods of tensors whose answers are no tensors that a recording would see."""

_CONTAINERS = ("append", "extend", "insert", "items", "keys", "values", "get", "update")
_SPECIAL = ("__call__", "__getattr__", "__getitem__", "__iter__", "__len__", "__setattr__")
_CONSTANTS = (int, float, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


def unrepeatable(module: nn.Module, step: Callable[..., Any] | None = None) -> str | None:
    """Why a step of this module may differ from call to call; None where it is known not to.

    Args:
        module: what is trained.
        step: the user's own step function or method; None for a loss of Querist's.

    A module of Querist's that has a method `unrepeatable` answers for itself and its own step.
    """
    answers = getattr(module, "unrepeatable", None)
    if callable(answers) and type(module).__module__.startswith("querist."):
        reason: str | None = answers()
        return reason
    look = _Look(module)
    for name, part in module.named_modules():
        called = f"{type(part).__name__}{f' ({name})' if name else ''}"
        reason = _harm_of_a_module(part, called)
        if reason is not None:
            return reason
        if not _of_torch(type(part)) or "forward" in vars(part):
            reason = look.harm(part.forward, part)
            if reason is not None:
                return f"forward of {called} {reason}"
    if step is None:
        return None
    reason = look.harm(step, getattr(step, "__self__", None))
    return None if reason is None else f"the training step {reason}"


def skipped_hooks(module: nn.Module) -> str | None:
    """Hooks that a recorded step would leave out, in words; None without any."""
    for name, weight in module.named_parameters():
        if getattr(weight, "_post_accumulate_grad_hooks", None):
            return f"{name} has hooks on its gradient"
    return None


def constants(module: nn.Module) -> tuple[Any, ...]:
    """The plain values that modules hold: mode, rates, sizes. A capture is of no use for others."""
    return tuple(
        value
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, _CONSTANTS)
    )


def _harm_of_a_module(part: nn.Module, called: str) -> str | None:
    if any(getattr(part, hooks, None) for hooks in _HOOKS) or _hooks_everywhere():
        return f"{called} has hooks"
    for weight in part.parameters(recurse=False):
        if weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None):
            return f"a weight of {called} has hooks"
    if isinstance(part, torch.jit.ScriptModule):
        return f"{called} is a program of TorchScript"
    for special in _SPECIAL:
        found = getattr(type(part), special, None)
        torchs = _of_torch(found) or found in (getattr(object, special, None), None)
        if not torchs and found is not getattr(nn.Module, special, None):
            return f"{called} has a {special} of its own"
    return None


def _hooks_everywhere() -> bool:
    return bool(nn.modules.module._has_any_global_hook())


def _of_torch(found: Any) -> bool:
    home = getattr(found, "__module__", None) or ""
    return home == "torch" or home.startswith("torch.")


class _Look:
    """Looks through functions that a step of a module calls."""

    def __init__(self, root: nn.Module) -> None:
        self._parts = list(root.modules())
        self._seen: set[Any] = set()

    def harm(self, function: Any, owner: Any) -> str | None:
        """What in a function, or in what it calls, is not known to be harmless."""
        plain = getattr(function, "__func__", function)
        if not isinstance(plain, types.FunctionType):
            return f"calls {function!r:.60}, which is no Python function"
        if (plain, id(owner)) in self._seen:
            return None
        self._seen.add((plain, id(owner)))
        if plain.__closure__:
            only_class = plain.__code__.co_freevars == ("__class__",)
            return "calls super()" if only_class else "is a function in a function"
        defaults = (*(plain.__defaults__ or ()), *(plain.__kwdefaults__ or {}).values())
        if not all(_constant(value) for value in defaults):
            return "has a default argument that may change"
        return self._code(plain.__code__, plain.__globals__, owner)

    def _code(self, code: Any, known: dict[str, Any], owner: Any) -> str | None:
        for instruction in dis.get_instructions(code):
            name, operation = str(instruction.argval), instruction.opname
            reason = None
            if operation in _WRITES:
                reason = f"writes {name}"
            elif operation.startswith("IMPORT"):
                reason = f"imports {name}"
            elif operation in ("LOAD_GLOBAL", "LOAD_NAME"):
                reason = self._global(name, known)
            elif operation in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
                reason = self._attribute(name, owner)
            if reason is not None:
                return reason
        inner = (constant for constant in code.co_consts if inspect.iscode(constant))
        return next(filter(None, (self._code(each, known, owner) for each in inner)), None)

    def _global(self, name: str, known: dict[str, Any]) -> str | None:
        if name not in known:
            return None if name in _HARMLESS and hasattr(builtins, name) else f"uses {name}"
        found = known[name]
        if isinstance(found, types.ModuleType):
            torchs = found.__name__ == "torch" or found.__name__.startswith("torch.")
            return None if torchs or found.__name__ == "math" else f"uses {found.__name__}"
        if isinstance(found, types.FunctionType) and not _of_torch(found):
            return self.harm(found, None)
        code = type | types.FunctionType | types.BuiltinFunctionType
        if isinstance(found, code) and _of_torch(found):
            return None
        # Numbers of a module of Python's may be written by anybody, and no capture rests on them.
        return None if name.isupper() and _constant(found) else f"uses {name}"

    def _attribute(self, name: str, owner: Any) -> str | None:
        """Whoever the receiver is, every part of the model that has such a name must be harmless.

        What no part has is taken for an attribute of a tensor, of torch, or of a list made here.
        """
        if name in _VALUES:
            return f"calls {name}"
        parts = self._parts if owner is None else [owner, *self._parts]
        found_somewhere = False
        for part in parts:
            if name in vars(part):
                found_somewhere = True
                if not _constant(vars(part)[name]) and not _torch_function(vars(part)[name]):
                    return f"reads {name}"
            elif _registered(part, name):
                found_somewhere = True
            elif hasattr(type(part), name) and not _of_torch(type(part)):
                reason = self._of_a_class(name, part)
                if reason is not None:
                    return reason
                found_somewhere = True
        known = any(hasattr(place, name) for place in (torch.Tensor, torch, F, nn, torch.special))
        harmless = known or name in _CONTAINERS or name in ("functional", "linalg", "fft", "pi")
        return None if found_somewhere or harmless else f"reads {name}"

    def _of_a_class(self, name: str, part: Any) -> str | None:
        found = inspect.getattr_static(type(part), name)
        if _constant(found) or _of_torch(found):
            return None
        if isinstance(found, types.FunctionType):
            return self.harm(found, part)
        if isinstance(found, staticmethod | classmethod):
            return self.harm(found.__func__, part)
        return f"reads {name}"


def _registered(part: nn.Module, name: str) -> bool:
    """Parameters, buffers and submodules: their values are read anew in every replay."""
    return any(name in vars(part)[kind] for kind in ("_parameters", "_buffers", "_modules"))


def _constant(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_constant(part) for part in value)
    return isinstance(value, _CONSTANTS)


def _torch_function(value: Any) -> bool:
    functions = types.FunctionType | types.BuiltinFunctionType
    return isinstance(value, functions) and _of_torch(value)
