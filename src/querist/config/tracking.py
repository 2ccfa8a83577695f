"""Settings of tracking in MLflow."""

from __future__ import annotations

from pydantic import Field, field_validator

from querist.config.group import Group
from querist.tracking.address import check_address

FEWEST_POINTS = 4
"""Of a curve: its ends, and two between."""


class TrackingConfig(Group):
    """What goes to MLflow, and where that is."""

    enabled: bool = True
    """Track the run in MLflow."""

    uri: str | None = Field(default=None, examples=["sqlite:///mlflow.db"], max_length=1000)
    """MLflow tracking URI. Default: `MLFLOW_TRACKING_URI`, else SQLite in `root_log_dir`."""

    experiment: str | None = Field(default=None, max_length=200)
    """MLflow experiment. Default: the experiment's name."""

    log_models_every: int = Field(default=0, ge=0, le=10**6)
    """Log the model every so many iterations as well; 0 = only the final one."""

    training_curves: int = Field(default=50, ge=0, le=1000)
    """Points of each training's curves (`train.loss`, `train.validation_loss`, `train.lr`), however
    many epochs it has. 0 = no curves."""

    drain_seconds: float = Field(default=60.0, ge=0.0, le=86400.0)
    """How long a finished run waits for the tracker before it leaves the rest to `querist sync`."""

    @field_validator("training_curves")
    @classmethod
    def _has_a_shape(cls, points: int) -> int:
        if 0 < points < FEWEST_POINTS:
            raise ValueError(
                f"training_curves is 0 or at least {FEWEST_POINTS} points, not {points}: raise it"
            )
        return points

    @field_validator("uri")
    @classmethod
    def _holds_no_secret(cls, value: str | None) -> str | None:
        return None if value is None else check_address(value)
