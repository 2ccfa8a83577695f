"""Hugging Face's transformers without the network: what is not in a local folder is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from querist.errors import ConfigurationError


def import_transformers() -> Any:
    """The package transformers, told to stay off the network.

    Raises:
        ConfigurationError: it is not installed, or not with what it needs.
    """
    # Read when the package is imported; a process that has it from elsewhere keeps its own choice,
    # and `local_files_only` says the same for each call.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Hugging Face models and tokenizers need transformers: pip install "
            "'querist[transformers]'"
        ) from error
    except ImportError as error:  # it looks at the versions of what it needs
        raise ConfigurationError(
            f"transformers cannot be imported, {' '.join(str(error).split())[:300]}: pip install "
            "'querist[transformers]'"
        ) from error
    return transformers


def local_folder(path: Any, what: str, file: str) -> Path:
    """The folder at `path`; names of the hub are none.

    Raises:
        ConfigurationError: there is no such folder, or `file` is not in it.
    """
    if not isinstance(path, str) or not path or "\0" in path or not os.path.isdir(path):
        raise ConfigurationError(
            f"{what} is a local folder, nothing is downloaded, and there is no folder "
            f"{path!r:.200}: save it there first (save_pretrained)"
        )
    if not (Path(path) / file).is_file():
        raise ConfigurationError(
            f"{what} is a folder with {file}, unlike {path!r:.200}: write it with save_pretrained"
        )
    return Path(path)


@contextmanager
def quietly(transformers: Any) -> Iterator[None]:
    """No progress bars and reports on the terminal inside; what matters is logged by us."""
    logs = transformers.utils.logging
    verbosity, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(verbosity)
        if bars:
            logs.enable_progress_bar()
