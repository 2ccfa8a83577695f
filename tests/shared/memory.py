from __future__ import annotations

from collections.abc import Mapping


class Memory:
    """States in mid-training, in memory: implements `protocols.PartialCheckpoints`."""

    def __init__(self, kept: tuple[int, Mapping[str, bytes]] | None = None) -> None:
        self.kept = kept
        self.epochs: list[int] = []

    def save(self, epoch: int, files: Mapping[str, bytes]) -> None:
        self.kept = epoch, dict(files)
        self.epochs.append(epoch)

    def latest(self) -> tuple[int, Mapping[str, bytes]] | None:
        return self.kept
