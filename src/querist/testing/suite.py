"""What the contract suites share: running all their tests, and watching global randomness."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from querist.errors import QueristError


def run_suite(suite: Any) -> None:
    """Call every `test_*` method of a suite, in the order they are written.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    for name in names_of_tests(suite):
        getattr(suite, name)()


def names_of_tests(suite: Any) -> list[str]:
    """The names of a suite's tests, in the order they are written."""
    written = [name for kind in reversed(type(suite).__mro__) for name in vars(kind)]
    return [name for name in dict.fromkeys(written) if name.startswith("test_")]


@contextmanager
def global_randomness_untouched() -> Iterator[None]:
    """Asserts that the block draws from no global generator."""
    torch_state, numpy_state, python_state = _states()
    yield
    torch_after, numpy_after, python_after = _states()
    drew = "randomness is handed in, but the global generator of {} was used or seeded"
    assert torch.equal(torch_state, torch_after), drew.format("torch")
    assert numpy_state == numpy_after, drew.format("numpy")
    assert python_state == python_after, drew.format("random")


def _states() -> tuple[torch.Tensor, Any, Any]:
    _, keys, *rest = np.random.get_state(legacy=True)
    return torch.random.get_rng_state(), (np.asarray(keys).tobytes(), rest), random.getstate()


def refusal(act: Callable[[], Any], why: str) -> QueristError:
    """The error of Querist's that `act` raises; anything else breaks the contract.

    Raises:
        AssertionError: nothing was raised, or an error that is not Querist's.
    """
    try:
        answer = act()
    except QueristError as error:
        if not str(error):
            raise AssertionError(f"{why}: the refusal has no message") from error
        return error
    except Exception as error:
        raise AssertionError(f"{why}: raised {error!r}, not an error of querist.errors") from error
    raise AssertionError(f"{why}: nothing was raised, the answer was {answer!r:.200}")
