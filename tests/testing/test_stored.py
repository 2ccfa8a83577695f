from __future__ import annotations

import io
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from querist.testing.stored import complaint_about


def stored(write: Any, value: Any, **more: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer, value, **more) if write is np.save else write(value, buffer)
    return buffer.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


class Code:
    def __reduce__(self) -> Any:
        return print, ("ran",)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"a sentence.", save({"a": torch.ones(3)}),
        stored(torch.save, {"a": torch.ones(3), "b": [1, None]}),
        stored(np.save, np.ones(3)), zipped("schema.json", b"{}"),
    ],
)  # fmt: skip
def test_files_that_run_nothing(content: bytes) -> None:
    assert complaint_about(content) is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (pickle.dumps(Code()), "is a pickle"),
        (pickle.dumps({"a": 1}, protocol=0), "is a pickle"),
        (stored(torch.save, Code()), "cannot be loaded with weights_only"),
        (stored(np.save, np.array([Code()]), allow_pickle=True), "holds objects"),
        (zipped("x.bin", pickle.dumps(1)), "holds x.bin, which is a pickle"),
    ],
)
def test_files_that_could_run_something(content: bytes, complaint: str) -> None:
    found = complaint_about(content)
    assert found is not None
    assert complaint in found
