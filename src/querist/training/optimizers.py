"""Torch optimizers and learning-rate schedulers by name."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from querist.errors import ConfigurationError, UnknownNameError

_MARKED = "__dynamo_disable"


def _classes(module: Any, base: type) -> dict[str, type]:
    return {
        name: found
        for name, found in vars(module).items()
        if inspect.isclass(found)
        and issubclass(found, base)
        and found is not base
        and not name.startswith("_")
    }


def _optimizers() -> dict[str, type]:
    import torch

    return _classes(torch.optim, torch.optim.Optimizer)


def _schedulers() -> dict[str, type]:
    from torch.optim import lr_scheduler

    return _classes(lr_scheduler, lr_scheduler.LRScheduler)


def _find(what: str, name: str, known: Mapping[str, type]) -> type:
    by_lower = {n.lower(): n for n in known}
    if name.lower() not in by_lower:
        raise UnknownNameError(what, name, known)
    return known[by_lower[name.lower()]]


def _check_options(what: str, found: type, options: Mapping[str, Any], own: set[str]) -> None:
    known = set(inspect.signature(found).parameters) - own
    for option, value in options.items():
        if option not in known:
            raise UnknownNameError(f"option of {what} {found.__name__}", option, known)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"{what} option {option} must be finite, not {value}")


def find_optimizer(name: str) -> type:
    """The optimizer of this name, whether its letters are large or small.

    Raises:
        UnknownNameError: torch has none; the nearest ones are suggested.
    """
    return _find("optimizer", name, _optimizers())


def find_scheduler(name: str) -> type:
    """The learning-rate scheduler of this name, whether its letters are large or small.

    Raises:
        UnknownNameError: torch has none; the nearest ones are suggested.
    """
    return _find("scheduler", name, _schedulers())


def check_optimizer(name: str, options: Mapping[str, Any]) -> None:
    """Refuse an unknown optimizer, an unknown option, or a learning rate that is not above 0."""
    found = find_optimizer(name)
    _check_options("optimizer", found, options, {"params"})
    lr = options.get("lr")
    if lr is not None and (isinstance(lr, bool) or not isinstance(lr, int | float) or lr <= 0):
        raise ConfigurationError(f"optimizer option lr must be a number above 0, not {lr!r}")


def check_scheduler(name: str, options: Mapping[str, Any]) -> None:
    """Refuse an unknown learning-rate scheduler or option."""
    _check_options("scheduler", find_scheduler(name), options, {"optimizer", "last_epoch"})


def build_optimizer(
    name: str,
    options: Mapping[str, Any],
    module: Any,
    lr: float | None,
    *,
    device: Any,
    captured: bool = False,
) -> Any:
    """An optimizer over the module's parameters; `lr`, where given, replaces the option.

    Args:
        name: its name in torch.
        options: as written in the configuration.
        module: what is trained, on the device already.
        lr: the learning rate of this iteration.
        device: decides which form of the step is fastest, where the options do not say it.
        captured: whether steps may be captured; on a GPU some optimizers must know.

    Raises:
        ConfigurationError: the optimizer refused its options.
    """
    settings = {**options, **({} if lr is None else {"lr": lr})}
    found = find_optimizer(name)
    known = inspect.signature(found).parameters
    settings = {**_fastest(known, settings, module, device), **settings}
    if captured and device.type == "cuda" and "capturable" in known:
        settings.setdefault("capturable", True)
    try:
        with _compiler_left_out():
            return found(module.parameters(), **settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"optimizer {name} refused its options: {error}") from error


def _fastest(
    known: Mapping[str, Any], settings: Mapping[str, Any], module: Any, device: Any
) -> dict[str, bool]:
    """One kernel for all weights where there is one, else the plain loop on a CPU."""
    if {"foreach", "fused"} & set(settings) or settings.get("differentiable"):
        return {}
    if "fused" in known and device.type in ("cpu", "cuda") and _fusable(module, device):
        return {"fused": True}
    # On the CPU torch takes the plain loop anyway, after 6 us of deciding per step.
    return {"foreach": False} if device.type == "cpu" and "foreach" in known else {}


def _fusable(module: Any, device: Any) -> bool:
    """Whether a fused step is right for these weights."""
    if any(getattr(part, "sparse", False) for part in module.modules()):
        return False
    # On the CPU, torch 2.13's fused SGD takes wrong steps with weights in half precision, and its
    # fused Adam infinite ones.
    return device.type != "cpu" or all(p.dtype.itemsize >= 4 for p in module.parameters())


@contextmanager
def _compiler_left_out() -> Iterator[None]:
    """An optimizer made inside does not import torch's compiler (1.1 s, 60 MB).

    `Optimizer.add_param_group` imports it to mark itself as not to be compiled, and keeps the
    marked function as an attribute; inside, it finds the plain function there. Where torch has
    none of this, nothing happens but the import.
    """
    from torch.optim import Optimizer

    plain = inspect.unwrap(Optimizer.add_param_group)
    if "torch._dynamo" in sys.modules or plain is Optimizer.add_param_group:
        yield
        return
    setattr(plain, _MARKED, plain)
    try:
        yield
    finally:
        delattr(plain, _MARKED)


def bare_step(optimizer: Any) -> Callable[[], Any]:
    """The optimizer's step without torch's wrappers around it, to be called under `no_grad`.

    The wrappers (profiler range, hooks, graph breaks for torch.compile) cost as much as the step
    itself of a small model. Where somebody hooked the optimizer, its own step is given.
    """
    cls = type(optimizer)
    hooked = (
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or optimizer.defaults.get("differentiable", False)
        or not cls.__module__.startswith("torch.optim")
    )
    return optimizer.step if hooked else partial(inspect.unwrap(cls.step), optimizer)


def build_scheduler(name: str, options: Mapping[str, Any], optimizer: Any) -> Any:
    """A learning-rate scheduler for `optimizer`.

    Raises:
        ConfigurationError: the scheduler refused its options.
    """
    try:
        return find_scheduler(name)(optimizer, **options)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"scheduler {name} refused its options: {error}") from error
