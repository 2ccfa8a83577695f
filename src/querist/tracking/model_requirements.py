"""The packages that a logged model needs where it is served."""

from __future__ import annotations

import importlib.metadata

from querist.tracking.user_code import UserCode

_REQUIRED = (
    "mlflow", "querist", "torch", "numpy", "scikit-learn", "safetensors", "skops", "pydantic",
)  # fmt: skip


def model_requirements(code: UserCode) -> list[str]:
    """What a served model needs, at the versions it was trained with, without local builds."""
    pinned = []
    for name in _REQUIRED:
        try:
            version = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        pinned.append(f"{name}=={version}")
    return [*pinned, *(r for r in code.requirements if r not in pinned)]
