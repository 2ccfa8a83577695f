"""Whether a training step does the same each time it is called with batches of one shape.

A capture replays what was recorded once. Python that draws a random number, counts calls or reads
a setting would be frozen in it without a word. So a step is captured unasked only if nothing of
that kind is in sight: the code of every module's `forward` (and of the user's step) is looked
through, and what is not known to be harmless counts as harmful.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

_WRITES = ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF", "DELETE_ATTR", "DELETE_GLOBAL")
_HARMLESS = (
    "len", "range", "zip", "enumerate", "isinstance", "getattr", "hasattr", "tuple", "list", "dict",
    "int", "float", "bool", "min", "max", "sum", "super", "reversed", "abs", "sorted", "callable",
    "str", "type", "ValueError", "TypeError", "RuntimeError", "AssertionError", "all", "any",
)  # fmt: skip
_CONSTANTS = (int, float, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


def unrepeatable(module: torch.nn.Module, step: Callable[..., Any] | None = None) -> str | None:
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
    seen: set[Any] = set()
    for name, part in module.named_modules():
        called = f"{type(part).__name__}{f' ({name})' if name else ''}"
        if any(getattr(part, hooks, None) for hooks in _HOOKS):
            return f"{called} has hooks"
        if any(p._backward_hooks for p in part.parameters(recurse=False)):
            return f"a weight of {called} has hooks"
        if _of_torch(type(part)) and "forward" not in vars(part):
            continue
        reason = _harm(part.forward, part, seen)
        if reason is not None:
            return f"forward of {called} {reason}"
    if step is None:
        return None
    reason = _harm(step, getattr(step, "__self__", None), seen)
    return None if reason is None else f"the training step {reason}"


def _of_torch(found: Any) -> bool:
    home = getattr(found, "__module__", None) or ""
    return home == "torch" or home.startswith("torch.")


def _harm(function: Any, owner: Any, seen: set[Any]) -> str | None:
    """What in a function, or in what it calls, is not known to be harmless."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(plain, types.FunctionType):
        return f"calls {function!r:.60}, which is no Python function"
    if (plain, id(owner)) in seen:
        return None
    seen.add((plain, id(owner)))
    if plain.__closure__:
        return "is a function in a function"
    return _harm_in(plain.__code__, plain, owner, seen)


def _harm_in(code: Any, function: Any, owner: Any, seen: set[Any]) -> str | None:
    for instruction in dis.get_instructions(code):
        name = str(instruction.argval)
        if instruction.opname in _WRITES:
            return f"writes {name}"
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            reason = _harm_of_global(name, function, seen)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            reason = _harm_of_attribute(name, owner, seen)
        elif instruction.opname.startswith("IMPORT"):
            reason = f"imports {name}"
        else:
            reason = None
        if reason is not None:
            return reason
    for constant in _codes(code):
        reason = _harm_in(constant, function, owner, seen)
        if reason is not None:
            return reason
    return None


def _codes(code: Any) -> Iterator[Any]:
    return (constant for constant in code.co_consts if inspect.iscode(constant))


def _harm_of_global(name: str, function: Any, seen: set[Any]) -> str | None:
    if name not in function.__globals__:
        return None if name in _HARMLESS and hasattr(builtins, name) else f"uses {name}"
    found = function.__globals__[name]
    if isinstance(found, _CONSTANTS) or _of_torch(found):
        return None
    if isinstance(found, types.ModuleType):
        torchs = found.__name__ == "torch" or found.__name__.startswith("torch.")
        return None if torchs or found.__name__ == "math" else f"uses {found.__name__}"
    if isinstance(found, types.FunctionType):
        return _harm(found, None, seen)
    return f"uses {name}"


def _harm_of_attribute(name: str, owner: Any, seen: set[Any]) -> str | None:
    """Attributes of the module itself; those of tensors are taken for tensors' own."""
    if owner is None or not hasattr(owner, name):
        return None
    if name in vars(owner):
        found = vars(owner)[name]
        if isinstance(found, _CONSTANTS):
            return None
        if isinstance(found, tuple) and all(isinstance(x, _CONSTANTS) for x in found):
            return None
        return None if _of_torch(found) and callable(found) else f"reads {name}"
    found = getattr(owner, name)
    if isinstance(found, torch.nn.Module | torch.nn.Parameter | torch.Tensor):
        return None  # registered ones: their values are read anew in every replay
    if isinstance(getattr(type(owner), name, None), property):
        return f"reads {name}"
    if callable(found):
        return None if _of_torch(getattr(found, "__func__", found)) else _harm(found, owner, seen)
    return None if isinstance(found, _CONSTANTS) else f"reads {name}"
