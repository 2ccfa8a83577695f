"""As `held`, and the conclusion of a run can be held too. On the tests' import path."""

from __future__ import annotations

from importlib import import_module

import held

Model, label = held.Model, held.label

# As an attribute of `querist.phases` it is the function; this is its module.
_module = import_module("querist.phases.conclude")
_module.draw = held._held("conclude", _module.draw)  # type: ignore[attr-defined]
