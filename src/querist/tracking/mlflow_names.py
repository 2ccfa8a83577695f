"""Names and values as MLflow takes them."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from typing import Any

MAX_KEY = 250
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 5000  # MLflow 3 takes 8000, older servers less
_REFUSED = re.compile(r"[^/\w.\- :]")


def key_for(name: str) -> str:
    """`name` when MLflow takes it, else the nearest it takes, with a digest to keep names apart."""
    key = _REFUSED.sub("_", name)
    if not key or posixpath.normpath(key) != key or key.startswith((".", "/")):
        key = key.replace("/", "_").lstrip(".") or "_"
    if key == name and len(key) <= MAX_KEY:
        return key
    digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{key[: MAX_KEY - 9]}_{digest}"


def text_for(value: Any, limit: int) -> str:
    """`value` as text, cut to `limit` characters with an ellipsis at the end."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def model_name_for(name: str) -> str:
    """`name` without the characters that a model's name must not have."""
    return re.sub(r"""[/:.%"']""", "_", name) or "model"
