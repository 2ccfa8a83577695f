"""Settings of the comparison between champion and challenger."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from querist.config.group import Group


class CheckConfig(Group):
    """One sub-comparison between champion and challenger."""

    metric: str = Field(min_length=1, max_length=200, examples=["f1", "accuracy"])
    """What is compared: `precision_recall` (area under the curve), `f1`, `accuracy`, `log_loss`,
    `calibration_error`, `mse`, `latency`, ... or any other metric that was measured."""

    direction: Literal["auto", "max", "min"] = "auto"
    """Which way is better; `auto` for metrics whose direction is known."""

    min_delta: float = Field(default=0.0, ge=0.0, le=1e9, examples=[0.005])
    """The challenger must be better by more than this, in units of the metric."""

    confidence: float | None = Field(default=None, gt=0.5, lt=1.0, examples=[0.95])
    """How sure it must be: by a paired bootstrap over the samples of the test set, the gain is
    above `min_delta` with this probability. Default: the numbers as they are."""

    resamples: int = Field(default=1000, ge=100, le=10**6)
    """Draws of the bootstrap."""

    slice_by: str | None = Field(default=None, max_length=200, examples=["site"])
    """Compare within each value of this key of the items' metadata, too."""

    max_slice_loss: float | None = Field(default=None, ge=0.0, le=1e9, examples=[0.02])
    """No slice may get worse by more than this. Needs `slice_by`; without it, each slice is a
    sub-comparison like the whole."""

    min_slice_size: int = Field(default=20, ge=1, le=10**9)
    """Slices with fewer samples are shown and not judged."""

    iou_threshold: float | None = Field(default=None, gt=0.0, le=1.0, examples=[0.5])
    """For detection: a box is found when it overlaps a true one by at least this, as intersection
    over union."""

    specific_label: int | None = Field(default=None, ge=0, lt=2**31)
    """Only this class. Default: the mean over the classes."""

    figure: str | None = Field(default=None, max_length=200)
    """For a training curve: its figure, as in `{figure: loss, legend: validation}`."""

    legend: str | None = Field(default=None, max_length=200)
    """For a training curve: which curve of the figure."""

    x_index: int | None = Field(default=None, ge=-(10**6), le=10**6, examples=[-1])
    """For a training curve: at which epoch; -1 = the last. Default: the best of the curve."""


class CompareConfig(Group):
    """Champion against challenger on the same test set."""

    checks: tuple[CheckConfig, ...] = Field(default=(), max_length=100)
    """The sub-comparisons. None: the two are compared sample by sample, and `wins` decides."""

    wins: float | Literal["any", "all"] = "all"
    """The share of sub-comparisons that must be won, from 0 to 1; `any` (one), or `all`."""

    @model_validator(mode="before")
    @classmethod
    def _other_forms(cls, value: Any) -> Any:
        return as_checks(value)


def as_checks(value: Any) -> Any:
    """A comparison in the JSON form of Dataloop's app in our form; others stay as they are."""
    return value
