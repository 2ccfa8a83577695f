from __future__ import annotations

import math

import pytest
import torch

from querist.errors import StrategyError
from querist.view_checks import check_probabilities, check_view, refuse_rows
from querist.views import View

AT = torch.tensor([10, 20, 30])
THIRDS = torch.full((3, 3), 1 / 3)


@pytest.mark.parametrize(
    ("view", "shape", "message"),
    [
        (View.EMBEDDINGS, (3,), r"embeddings of 3 samples .* \(3, numbers\), not \(3,\)"),
        (View.EMBEDDINGS, (2, 4), r"not \(2, 4\): check the learner's look"),
        (View.LOGITS, (3, 2, 2), "logits of 3 samples have the shape"),
        (View.NUMBERS, (2,), "check the learner's predict$"),
        (View.NUMBER_SAMPLES, (3,), r"\(models, 3, numbers\), .*learner's predict_samples"),
        (View.PROBABILITY_SAMPLES, (5, 3), "check the learner's predict_proba_samples"),
        (View.PROBABILITIES, (3,), "check the learner's predict_proba$"),
        (View.LABEL_PROBABILITIES, (3, 0), "check the learner's predict_proba$"),
    ],
)  # fmt: skip
def test_another_shape_is_refused(view: View, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        check_view(view, torch.zeros(shape), AT)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("view", list(View))
def test_the_sample_of_a_number_that_is_not_finite_is_named(view: View, value: float) -> None:
    values = torch.full((2, 3, 3) if view.rows else (3, 3), 1 / 3)
    values[(1, 1, 2) if view.rows else (1, 2)] = value
    with pytest.raises(StrategyError, match="of 1 of 3 samples are NaN or infinite, .* sample 20:"):
        check_view(view, values, AT)


@pytest.mark.parametrize(
    "view", [View.PROBABILITIES, View.LABEL_PROBABILITIES, View.PROBABILITY_SAMPLES]
)
def test_what_is_no_probability_is_refused(view: View) -> None:
    values = THIRDS.repeat(2, 1, 1) if view.rows else THIRDS.clone()
    values[..., 2, 0] = 1.5
    with pytest.raises(StrategyError, match="1 of 3 samples are outside 0 to 1, .* sample 30:"):
        check_view(view, values, AT)


def test_one_number_a_sample_gets_its_column() -> None:
    assert check_view(View.NUMBERS, torch.ones(3), AT).shape == (3, 1)
    assert check_view(View.NUMBER_SAMPLES, torch.ones(5, 3), AT).shape == (5, 3, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    assert check_view(View.EMBEDDINGS, torch.ones(3, 2, dtype=dtype), AT).dtype == torch.float32


def test_large_numbers_are_finite_though_their_sum_is_not() -> None:
    large = torch.full((3, 4), 3e38)
    assert check_view(View.EMBEDDINGS, large, AT) is large


def test_no_samples_are_good() -> None:
    none = torch.empty(0, dtype=torch.int64)
    for view in View:
        shape = (2, 0, 3) if view.rows else (0, 3)
        assert check_view(view, torch.empty(shape), none).shape == shape


def test_numbers_of_a_committee() -> None:
    check_view(View.NUMBERS, torch.ones(3), AT)
    check_view(View.NUMBERS, torch.ones(3, 2), AT)
    with pytest.raises(StrategyError, match=r"have the shape \(3, numbers\), not \(2,\)"):
        check_view(View.NUMBERS, torch.ones(2), AT)
    with pytest.raises(StrategyError, match="numbers must be finite .* sample 10:"):
        check_view(View.NUMBERS, torch.tensor([math.nan, 1, 1]), AT)


def test_a_probability_may_be_rounded_up() -> None:
    check_probabilities(torch.full((3, 1), 1.0009), AT)
    with pytest.raises(StrategyError, match="outside 0 to 1"):
        check_probabilities(torch.full((3, 1), 1.0011), AT)


def test_all_that_are_not_good_are_counted() -> None:
    with pytest.raises(StrategyError, match="scores must .* those of 2 of 3 .* first is sample 20"):
        refuse_rows(torch.tensor([True, False, False]), AT, "scores", "NaN")
    refuse_rows(torch.tensor([True, True, True]), AT, "scores", "NaN")
