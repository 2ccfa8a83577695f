"""Whether new items are unlike those of before: two samples, compared feature by feature.

The distance of one feature is the two-sample Kolmogorov-Smirnov statistic, the largest gap between
the two empirical distribution functions: 0 for the same values, 1 for values that do not overlap.
Among many features chance alone gives some a large distance, so the p-value is corrected for their
number by Bonferroni's rule. All features have the same numbers of rows, so the largest distance has
the smallest p-value, and for that one Holm's rule says the same.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from querist.config.retraining import DriftConfig
from querist.errors import ConfigurationError, DataError

MAX_ROWS = 5000
"""Rows of a sample that are compared; of more, so many are drawn, the same ones each time."""
MAX_FEATURES = 4096
"""Features that are compared; of more, so many are drawn, the same ones each time."""
MAX_VALUES = 4_000_000
"""Values of a sample that are compared; with many features, fewer rows are."""
EXACT_ROWS = 1000
"""Up to so many rows the p-value is exact; above, the asymptotic one is as good."""
_LEAST_ROWS = 500


@dataclass(frozen=True)
class Drift:
    """How far two samples are apart.

    Attributes:
        statistic: the largest distance of any feature, 0 to 1.
        feature: which one, in a flattened item; None when no feature varies.
        p_value: how likely chance gives such a distance to any feature, corrected for their number.
        compared: features that vary, and were compared.
        rows: rows that were compared, of the reference and of the new sample.
        drifted: whether the distance reaches the threshold, and chance does not explain it.
        reason: that in words.
    """

    statistic: float
    feature: int | None
    p_value: float
    compared: int
    rows: tuple[int, int]
    drifted: bool
    reason: str


@dataclass(frozen=True)
class DriftReport:
    """What was found of new items.

    Attributes:
        drifted: whether they are unlike those of before.
        reason: why, or why not.
        features: the items' features; None when they were not looked at.
        confidence: the champion's confidence; None when it was not looked at.
    """

    drifted: bool
    reason: str
    features: Drift | None
    confidence: Drift | None


def check_drift(
    config: DriftConfig,
    *,
    reference_features: Tensor | None,
    new_features: Tensor | None,
    reference_confidence: Tensor | None = None,
    new_confidence: Tensor | None = None,
) -> DriftReport:
    """Whether new items are unlike those that the champion was trained on, as `config` asks.

    Features and confidence each have the false-alarm rate `config.significance` to themselves.

    Args:
        config: what is looked at, and when it counts.
        reference_features: (n, ...), items that the champion was trained on.
        new_features: (m, ...), new items.
        reference_confidence: (n,), the champion's highest class probability.
        new_confidence: (m,), the same for new items.

    Raises:
        ConfigurationError: something is to be looked at that is not there.
        DataError: NaN, no rows, or items of another shape.
    """
    features = confidence = None
    said = []
    if config.features is not None:
        if reference_features is None or new_features is None:
            raise ConfigurationError(
                "drift.features needs items whose features are tensors of one shape: remove it, or "
                "give such items"
            )
        if words := _too_few(new_features, config.min_items):
            said.append(words)
        else:
            features = measure_drift(
                reference_features, new_features,
                threshold=config.features, significance=config.significance,
            )  # fmt: skip
            said.append(f"features: {features.reason}")
    if config.confidence is not None:
        if new_confidence is None and new_features is not None and not len(new_features):
            new_confidence = torch.empty(0)  # no champion can be asked about no items
        if reference_confidence is None or new_confidence is None:
            raise ConfigurationError(
                "drift.confidence needs a champion that gives class probabilities: remove it, or "
                "look at drift.features"
            )
        if words := _too_few(new_confidence, config.min_items):
            said.append(words)
        else:
            confidence = confidence_drift(
                reference_confidence, new_confidence,
                threshold=config.confidence, significance=config.significance,
            )  # fmt: skip
            said.append(f"confidence: {confidence.reason}")
    found = [one for one in (features, confidence) if one is not None]
    return DriftReport(
        drifted=any(one.drifted for one in found),
        reason="; ".join(dict.fromkeys(said)),
        features=features,
        confidence=confidence,
    )


def _too_few(new: Tensor, least: int) -> str | None:
    if len(new) >= least:
        return None
    return f"{len(new)} new items, and with fewer than {least} nothing is said"


def confidence_drift(
    reference_confidence: Tensor,
    new_confidence: Tensor,
    *,
    threshold: float,
    significance: float,
) -> Drift:
    """As `measure_drift` for one number an item, the highest class probability: (n,) and (m,).

    Raises:
        DataError: NaN, no rows, or more than one number an item.
    """
    for values in (reference_confidence, new_confidence):
        if values.ndim != 1:
            raise DataError(
                f"confidence is one number an item, (n,), not {tuple(values.shape)}: take the "
                "highest class probability"
            )
    return measure_drift(
        reference_confidence, new_confidence, threshold=threshold, significance=significance
    )


def measure_drift(
    reference: Tensor, new: Tensor, *, threshold: float, significance: float
) -> Drift:
    """How far two samples are apart, by the feature in which they are farthest.

    Of large samples a part is compared, drawn the same way each time, so that this takes seconds.

    Args:
        reference: (n, ...), the sample of before.
        new: (m, ...), the new one.
        threshold: the distance from which on a feature has drifted, 0 to 1.
        significance: how unlikely chance must make it, over all features.

    Raises:
        DataError: NaN, no rows, or items of another shape.
    """
    for name, values in (("reference", reference), ("new", new)):
        _check(name, values)
    if reference.shape[1:] != new.shape[1:]:
        raise DataError(
            f"new items are {tuple(new.shape[1:])}, those of before {tuple(reference.shape[1:])}: "
            "drift is measured between items of one shape"
        )
    columns = _drawn(reference.shape[1:].numel(), MAX_FEATURES)
    old = _compared(reference, columns)
    fresh = _compared(new, columns)
    rows = (len(old), len(fresh))
    low = np.minimum(old.min(0), fresh.min(0))
    varying = np.flatnonzero(low < np.maximum(old.max(0), fresh.max(0)))
    if not len(varying):
        return Drift(0.0, None, 1.0, 0, rows, False, "no feature varies")
    distances = [
        float(ks_2samp(old[:, i], fresh[:, i], method="asymp").statistic) for i in varying
    ]
    worst = int(np.argmax(distances))
    column = varying[worst]
    p_value = min(1.0, _chance(old[:, column], fresh[:, column]) * len(varying))
    distance, feature = distances[worst], int(columns[column])
    drifted = distance >= threshold and p_value < significance
    return Drift(
        statistic=distance,
        feature=feature,
        p_value=p_value,
        compared=len(varying),
        rows=rows,
        drifted=drifted,
        reason=_words(distance, feature, p_value, threshold, significance),
    )


def _chance(old: np.ndarray, fresh: np.ndarray) -> float:
    """The p-value of one feature."""
    method = "exact" if max(len(old), len(fresh)) <= EXACT_ROWS else "asymp"
    with warnings.catch_warnings():
        # Where rounding makes the exact one exceed 1, it warns, and takes the asymptotic one.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(ks_2samp(old, fresh, method=method).pvalue)


def _check(name: str, values: Tensor) -> None:
    if values.ndim == 0 or not values.numel():
        raise DataError(f"drift is measured between items, and the {name} sample has none: wait")
    if values.is_floating_point() and bool(torch.isnan(values).any()):
        raise DataError(
            f"the {name} sample holds NaN, which is no distance from anything: leave these items "
            "out, or mend them"
        )


def _compared(values: Tensor, columns: Tensor) -> np.ndarray:
    """The rows and features that are compared, (rows, features)."""
    most = min(MAX_ROWS, max(_LEAST_ROWS, MAX_VALUES // len(columns)))
    flat = values.detach().reshape(len(values), -1)
    drawn = flat[_drawn(len(flat), most).to(flat.device)]
    return drawn[:, columns.to(flat.device)].double().cpu().numpy()


def _drawn(count: int, most: int) -> Tensor:
    """All of `count` indices, or `most` of them, the same ones each time; ascending."""
    if count <= most:
        return torch.arange(count)
    draw = torch.Generator().manual_seed(count)
    return torch.randperm(count, generator=draw)[:most].sort().values


def _words(
    distance: float, feature: int, p_value: float, threshold: float, significance: float
) -> str:
    found = f"distance {distance:.3f} (feature {feature}, p {p_value:.2g})"
    if distance < threshold:
        return f"{found} is below {threshold:g}"
    if p_value >= significance:
        return f"{found} may be chance: p is not below {significance:g}"
    return f"{found} reaches {threshold:g}"
