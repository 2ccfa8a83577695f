from __future__ import annotations

from tests.shared.killed import lab, own_process, uninterrupted

__all__ = ["lab", "own_process", "uninterrupted"]
