"""Whether a stored file could run code when it is loaded."""

from __future__ import annotations

import io
import pickletools
import zipfile

import numpy as np
import torch


def complaint_about(content: bytes) -> str | None:
    """Why a file could run code when it is loaded; None where it could not.

    What torch loads with `weights_only`, arrays without objects, and everything that is neither a
    pickle nor holds one, runs none.
    """
    if zipfile.is_zipfile(io.BytesIO(content)):
        return _in_archive(content)
    if content.startswith(b"\x93NUMPY"):
        return _in_array(content)
    return "is a pickle" if _is_pickle(content) else None


def _in_archive(content: bytes) -> str | None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if any(name.endswith("data.pkl") for name in parts):
        try:
            torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        except Exception as error:
            return f"cannot be loaded with weights_only: {error}"
        return None
    for name, part in parts.items():
        complaint = complaint_about(part)
        if complaint is not None:
            return f"holds {name}, which {complaint}"
    return None


def _in_array(content: bytes) -> str | None:
    try:
        np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        return f"holds objects: {error}"
    return None


def _is_pickle(content: bytes) -> bool:
    """Whether these bytes, from the first to the last, are the operations of a pickle."""
    if not content.endswith(b"."):
        return False
    try:
        *_, (_, _, position) = pickletools.genops(content)
    except Exception:  # whatever a file that is no pickle makes it stumble over
        return False
    return position == len(content) - 1
