"""What cannot be a learner's answer is refused, with the first sample that it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from querist.errors import StrategyError

if TYPE_CHECKING:
    from querist.views import View

ROUNDING = 1e-3
"""How far a probability may lie above 1 before it is taken for something else (a logit)."""

_WHOLE = {torch.float32: torch.int32, torch.float64: torch.int64}
_HIGHEST = {
    kind: int(torch.tensor(1 + ROUNDING, dtype=kind).view(whole)) for kind, whole in _WHOLE.items()
}
"""The highest probability, its bits read as a whole number."""

_MATRICES = ("numbers", "number_samples", "variances")
"""Views whose last dimension may be left out where it is 1."""


def check_view(view: View, values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """The values of a view, with all of its dimensions, if they can be those of the samples.

    Half precision is widened: its coarse steps would make ties of different scores.

    Args:
        view: what was asked.
        values: what came back.
        indices: of the samples that it is about `(m,)`.

    Raises:
        StrategyError: the shape is another one, or a number is NaN, infinite or no probability.
    """
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    if view in ("probabilities", "label_probabilities"):
        check_probabilities(values, indices)
        return values
    dimensions, given = 2 + view.rows, tuple(values.shape)
    if view in _MATRICES and values.ndim == dimensions - 1:
        values = values[..., None]
    shape = tuple(values.shape)
    if len(shape) != dimensions or shape[view.rows] != len(indices):
        wanted = ("models, " if view.rows else "") + f"{len(indices)}, numbers"
        raise StrategyError(
            f"{view.replace('_', ' ')} of {len(indices)} samples have the shape ({wanted}), not "
            f"{given}: check the learner's {_source(view)}"
        )
    if view == "variances":
        refuse_rows((values >= 0).all(1) | ~torch.isfinite(values).all(1), indices, view, "below 0")
    if view == "probability_samples":
        if not values.numel() or _surely_probabilities(values):
            return values
    # A sum is NaN or infinite where a part is; that it overflows by itself is ruled out below.
    elif bool(torch.isfinite(values.sum())):
        return values
    by_sample = values.movedim(view.rows, 0).reshape(len(indices), -1)
    _refuse(by_sample, indices, _words(view), probabilities=view == "probability_samples")
    return values


def _refuse(
    by_sample: torch.Tensor, indices: torch.Tensor, what: str, *, probabilities: bool
) -> None:
    """Name the first sample `(m, ...)` with a number that cannot be, if there is one."""
    refuse_rows(torch.isfinite(by_sample).all(1), indices, what, "NaN or infinite")
    if probabilities:
        good = ((by_sample >= 0) & (by_sample <= 1 + ROUNDING)).all(1)
        refuse_rows(good, indices, what, "outside 0 to 1")


def _words(view: View) -> str:
    return view.replace("_", " ")


def _source(view: View) -> str:
    return {
        "numbers": "predict",
        "number_samples": "predict_samples",
        "variances": "predict_variance",
        "probability_samples": "predict_proba_samples",
    }.get(view, "look")


def check_probabilities(probabilities: torch.Tensor, indices: torch.Tensor) -> None:
    """Refuse what cannot be the class probabilities of the samples `indices`.

    Raises:
        StrategyError: the shape is not `(m, c)`, or a value is NaN, infinite or outside 0 .. 1.
    """
    shape = tuple(probabilities.shape)
    if len(shape) != 2 or shape[0] != len(indices) or shape[1] == 0:
        raise StrategyError(
            f"class probabilities of {len(indices)} samples have the shape ({len(indices)}, "
            f"classes), not {shape}: check the learner's predict_proba"
        )
    if not len(indices) or _surely_probabilities(probabilities):
        return
    _refuse(probabilities, indices, "probabilities", probabilities=True)


def _surely_probabilities(values: torch.Tensor) -> bool:
    """Whether all are from 0 to 1, found in one pass. False means: look closer.

    Bits of floats from 0 on have the order of whole numbers, NaN and infinity are the highest, and
    what has a minus is below 0: three times as fast as comparing floats, which carries NaN on.
    """
    if values.dtype not in _WHOLE or values.device.type != "cpu":
        low, high = values.aminmax()
        return bool(low >= 0) and bool(high <= 1 + ROUNDING)
    bits = values.view(_WHOLE[values.dtype])
    # `aminmax` would copy what is not contiguous.
    low, high = bits.aminmax() if bits.is_contiguous() else (bits.amin(), bits.amax())
    return int(low) >= 0 and int(high) <= _HIGHEST[values.dtype]


def refuse_rows(good: torch.Tensor, indices: torch.Tensor, what: str, fault: str) -> None:
    """Name the first of the samples that are not `good` `(m,)`, and how many there are.

    Raises:
        StrategyError: at least one is not good.
    """
    if bool(good.all()):
        return
    bad = indices[~good.to(indices.device)]
    raise StrategyError(
        f"{what} must be finite numbers a sample can be ranked by: those of {len(bad)} of "
        f"{len(indices)} samples are {fault}, the first is sample {int(bad[0])}: check the model "
        "(has its training diverged?)"
    )
