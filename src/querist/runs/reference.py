"""What flows and tasks receive instead of models and data."""

from __future__ import annotations

from pathlib import Path

from querist.config.driver import RunId
from querist.config.group import Group


class RunReference(Group):
    """Where a run is. Small enough for any UI, enough to open the run anywhere."""

    run_id: RunId
    """The run's id, also its folder's name."""

    root: Path
    """The folder that holds the run folders."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.root / self.run_id
