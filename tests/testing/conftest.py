from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from querist.testing.suite import names_of_tests


@pytest.fixture
def complaints() -> Callable[..., list[str]]:
    """What each test of a suite has to say against a strategy."""

    def collect(suite: Any, factory: Callable[[], Any], **attributes: Any) -> list[str]:
        suite.make = factory
        for name, value in attributes.items():
            assert hasattr(suite, name)
            setattr(suite, name, value)
        found = []
        for name in names_of_tests(suite):
            try:
                getattr(suite, name)()
            except AssertionError as error:
                found.append(f"{name}: {str(error) or 'fails without a word'}")
            except Exception as error:  # another test of the suite finds what is wrong in words
                found.append(f"{name}: {error!r}")
        return found

    return collect
