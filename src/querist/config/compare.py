"""Settings of the comparison between champion and challenger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from querist.config.group import Group
from querist.config.limits import shown
from querist.directions import Direction, direction_of
from querist.errors import ConfigurationError

LATENCY, PRECISION_RECALL = "latency", "precision_recall"
MORE_THAN_HALF = 0.5
"""The share of samples to be won where neither checks nor wins are given."""

_DETECTION = ("iou_threshold", "specific_label")
_OF_SAMPLES = ("confidence", "slice_by", *_DETECTION)


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
    """Draws of the bootstrap; fewer, but at least 100, where the test set is very large."""

    slice_by: str | None = Field(default=None, min_length=1, max_length=200, examples=["site"])
    """Compare within each value of this key of the items' metadata, too."""

    max_slice_loss: float | None = Field(default=None, ge=0.0, le=1e9, examples=[0.02])
    """No slice may get worse by more than this. Needs `slice_by`; without it, each slice is a
    sub-comparison like the whole."""

    min_slice_size: int = Field(default=20, ge=1, le=10**9)
    """Slices with fewer samples are shown and not judged."""

    iou_threshold: float | None = Field(default=None, gt=0.0, le=1.0, examples=[0.5])
    """For detection: a box is found when it overlaps a true one by at least this, as intersection
    over union. Default: 0.5. A model that finds no boxes judges whole samples, which overlap."""

    specific_label: int | None = Field(default=None, ge=0, lt=2**31)
    """Only this class. Default: the mean over the classes."""

    figure: str | None = Field(default=None, min_length=1, max_length=200)
    """For a training curve: its figure, as in `{figure: loss, legend: validation}`."""

    legend: str | None = Field(default=None, min_length=1, max_length=200)
    """For a training curve: which curve of the figure."""

    x_index: int | None = Field(default=None, ge=-(10**6), le=10**6, examples=[-1])
    """For a training curve: at which epoch; -1 = the last. Default: the best of the curve."""

    @model_validator(mode="after")
    def _all_of_it_has_an_effect(self) -> Self:
        if self.max_slice_loss is not None and self.slice_by is None:
            raise ValueError("max_slice_loss needs slice_by: name a key of the items' metadata")
        if self.figure is None:
            _refuse(self, ("legend", "x_index"), "without figure: name the curve's figure")
        else:
            _refuse(self, _OF_SAMPLES, "for a training curve, which has no samples: remove it")
        if self.metric == LATENCY:
            _refuse(self, _OF_SAMPLES, "for latency, which has no samples: remove it")
        if self.metric != PRECISION_RECALL:
            _refuse(self, _DETECTION, f"unless metric is {PRECISION_RECALL}: remove it")
        _ = self.better
        return self

    @property
    def curve(self) -> str | None:
        """The training curve that is compared: `figure/legend`, or `figure`; None for a metric."""
        return self.figure if self.legend is None else f"{self.figure}/{self.legend}"

    @property
    def better(self) -> Direction:
        """Which way is better."""
        if self.figure is None or self.direction != "auto":
            return direction_of(self.metric, self.direction)
        for name in (self.figure, self.legend):
            try:
                return direction_of(name or self.figure)
            except ConfigurationError:
                continue
        return direction_of(self.curve or self.figure)


def _refuse(check: CheckConfig, keys: tuple[str, ...], why: str) -> None:
    for key in keys:
        if getattr(check, key) is not None:
            raise ValueError(f"{key} has no effect {why}")


class CompareConfig(Group):
    """Champion against challenger on the same test set."""

    checks: tuple[CheckConfig, ...] = Field(default=(), max_length=100)
    """The sub-comparisons. None: the two are compared sample by sample, and `wins` decides."""

    wins: Annotated[float, Field(ge=0.0, le=1.0)] | Literal["any", "all"] = "all"
    """The share of sub-comparisons that must be won, from 0 to 1; `any` (one), or `all`. Default:
    `all`, and 0.5 without checks."""

    @model_validator(mode="before")
    @classmethod
    def _other_forms(cls, value: Any) -> Any:
        return as_checks(value)

    @field_validator("wins", mode="before")
    @classmethod
    def _share_or_word(cls, value: Any) -> Any:
        if value in ("any", "all"):
            return value
        try:
            share = float(value)
        except (TypeError, ValueError, OverflowError):
            share = -1.0
        if isinstance(value, bool) or not 0.0 <= share <= 1.0:
            raise ValueError(
                f"a share from 0 to 1, any, or all belongs here, not {shown(value)}: write one"
            )
        return share


def as_checks(value: Any) -> Any:
    """A comparison in the JSON form of Dataloop's app in our form; others stay as they are.

    Its checks are a mapping from metric to options, `{"precision_recall": {...}}`, or a list of
    training curves with `maximize`; without `wins` one win is enough there. `verbose` asks for what
    a verdict always has.
    """
    if not isinstance(value, Mapping):
        return value
    found = dict(value)
    checks = found.get("checks")
    theirs = isinstance(checks, Mapping)
    if isinstance(checks, Mapping):
        checks = [_named(metric, options) for metric, options in checks.items()]
    elif checks is None:
        checks = []
    if isinstance(checks, list | tuple):
        theirs = theirs or any(map(_is_plot, checks))
        checks = [_as_check(check) for check in checks]
    found["checks"] = checks
    if theirs and isinstance(found.get("verbose"), bool):
        del found["verbose"]
    if found.get("wins") is None:
        found["wins"] = "any" if theirs else ("all" if checks else MORE_THAN_HALF)
    return found


def _named(metric: Any, options: Any) -> Any:
    return {"metric": metric, **options} if isinstance(options, Mapping) else options


def _is_plot(check: Any) -> bool:
    return isinstance(check, Mapping) and bool({"type", "maximize"} & check.keys())


def _as_check(check: Any) -> Any:
    """One check in our form: `maximize` is a direction, a curve is named by itself."""
    if not isinstance(check, Mapping):
        return check
    found = dict(check)
    if found.get("type") == "plot":
        del found["type"]
    if _is_plot(check):
        maximize = found.pop("maximize", True)
        if not isinstance(maximize, bool):
            raise ValueError(f"maximize is true or false, not {shown(maximize)}: write one of them")
        found.setdefault("direction", "max" if maximize else "min")
    if found.get("figure") is not None and "metric" not in found:
        parts = (found["figure"], found.get("legend"))
        found["metric"] = "/".join(str(part) for part in parts if part is not None)
    label = found.get("specific_label")
    if isinstance(label, list | tuple):
        if len(label) > 1:
            raise ValueError(
                f"specific_label is one class, not {shown(label)}: write a check for each of them"
            )
        found["specific_label"] = label[0] if label else None
    return found
