"""The environment of a command: a small part of ours, which holds no credentials."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from querist.errors import ConfigurationError

INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
    "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "SYSTEMROOT",
)  # fmt: skip
"""Inherited by name, and every `LC_*`; everything else stays here."""
NOT_FOR_STEPS = (
    "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)  # fmt: skip
"""What processes that carry out steps are not told: steps talk to no server."""
THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
"""What `cores` sets."""


def base_environment(ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every command inherits; Python's output comes as it is printed."""
    ours = os.environ if ours is None else ours
    kept = {k: v for k, v in ours.items() if k in INHERITED or k.startswith("LC_")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def check_environment(environment: Any) -> dict[str, str]:
    """`environment` of a command, as texts.

    Raises:
        ConfigurationError: it is no mapping of names to texts or numbers.
    """
    if not isinstance(environment, Mapping):
        raise ConfigurationError(
            f"environment of a command is a mapping, not {environment!r:.80}: write "
            "environment: {NAME: value}"
        )
    found = {}
    for name, value in environment.items():
        good = isinstance(name, str) and name and not set(name) & {"=", "\0"}
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not (number or (isinstance(value, str) and "\0" not in value)):
            raise ConfigurationError(
                f"environment of a command has names and texts or numbers, not {value!r:.80} for "
                f"{name!r:.80}: change it"
            )
        found[name] = str(value)
    return found


def usable_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def check_share(what: str, wanted: Any, *, least: int, usable: Sequence[Any]) -> int | None:
    """How many cores or GPUs a command gets; None = it is not said.

    Raises:
        ConfigurationError: it is no whole number, or more than this process may use.
    """
    if wanted is None:
        return None
    if type(wanted) is not int or wanted < least:
        raise ConfigurationError(
            f"{what} of a command is a whole number of at least {least}, not {wanted!r:.80}: set "
            "it to one"
        )
    if wanted > len(usable):
        raise ConfigurationError(
            f"{what} of a command is at most what this process may use, {len(usable)}, not "
            f"{wanted}: lower it"
        )
    return wanted


def share_of_cores(count: int, folder: Path) -> list[int]:
    """`count` of our cores; which ones goes by the folder, so that runs side by side spread."""
    cores = usable_cores()
    first = zlib.crc32(str(folder).encode()) % len(cores)
    return [cores[(first + step) % len(cores)] for step in range(min(count, len(cores)))]


def resources(cores: int | None, gpus: int | None) -> dict[str, str]:
    """What tells libraries how many threads and which GPUs they may use."""
    found = {} if cores is None else dict.fromkeys(THREADS, str(cores))
    if gpus is not None:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(usable_gpus()[:gpus])
    return found


def interpreter() -> str:
    """The Python that runs us."""
    return sys.executable
