"""What flows and tasks receive instead of a registered model."""

from __future__ import annotations

from pathlib import Path

from querist.config.driver import RunId
from querist.config.group import Group


class LineageReference(Group):
    """Where a registered model is. Small enough for any UI, enough to open it anywhere."""

    model: RunId
    """The registered model's name, also its folder's name."""

    root: Path
    """The folder that holds the folders of models and runs."""

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.root / self.model

    def version_name(self, version: int) -> str:
        """What a version is called before people."""
        return f"{self.model} version {version}"
