"""Settings of a comparison: ours, and those of Dataloop's app as they are."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from querist.config.compare import CheckConfig, CompareConfig, as_checks
from querist.config.load import explain
from querist.directions import Direction

# What the documentation of the app's compare node shows.
TRAINING = json.loads("""
{"wins": "0.6", "checks": [
  {"type": "plot", "legend": "metrics", "figure": "mAP50(B)", "x_index": -1, "maximize": true,
   "min_delta": 0.1},
  {"type": "plot", "legend": "val", "figure": "box_loss", "x_index": -1, "maximize": false,
   "min_delta": 0.1},
  {"type": "plot", "legend": "metrics", "figure": "precision", "x_index": -1, "maximize": true,
   "min_delta": 0.1}]}
""")
EVALUATION = json.loads("""
{"wins": "any", "checks": {"precision_recall": {"iou_threshold": 0.5, "min_delta": 0}}}
""")


def refusal(value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        CompareConfig.model_validate(value)
    return explain(caught.value, CompareConfig)


def test_training_curves_as_they_are_documented() -> None:
    config = CompareConfig.model_validate(TRAINING)
    assert config.wins == 0.6
    assert [(c.metric, c.curve, c.better, c.x_index, c.min_delta) for c in config.checks] == [
        ("mAP50(B)/metrics", "mAP50(B)/metrics", Direction.MAX, -1, 0.1),
        ("box_loss/val", "box_loss/val", Direction.MIN, -1, 0.1),
        ("precision/metrics", "precision/metrics", Direction.MAX, -1, 0.1),
    ]


def test_evaluation_as_it_is_documented() -> None:
    config = CompareConfig.model_validate(EVALUATION)
    assert config == CompareConfig(
        checks=(CheckConfig(metric="precision_recall", iou_threshold=0.5),), wins="any"
    )


@pytest.mark.parametrize(
    ("given", "wins"),
    [
        ({"checks": {"precision_recall": {}}}, "any"),
        ({"checks": [{"figure": "a", "legend": "b", "maximize": True}]}, "any"),
        ({"checks": [{"metric": "f1"}]}, "all"),
        ({"checks": [{"metric": "f1"}], "wins": None}, "all"),
        ({}, 0.5),
        ({"checks": None, "wins": "all"}, "all"),
        ({"wins": "0.6"}, 0.6),
        ({"wins": 1}, 1.0),
        ({"wins": "1"}, 1.0),
        ({"wins": 0}, 0.0),
    ],
)
def test_how_many_wins_are_needed(given: Any, wins: Any) -> None:
    found = CompareConfig.model_validate(given).wins
    assert (found, type(found)) == (wins, type(wins))


def test_numbers_that_are_text_are_read_as_numbers() -> None:
    check = {"figure": "loss", "legend": "val", "x_index": "-1", "maximize": False,
             "min_delta": "0.25", "type": "plot"}  # fmt: skip
    (found,) = CompareConfig.model_validate({"checks": [check], "verbose": True}).checks
    assert (found.x_index, found.min_delta) == (-1, 0.25)
    labels = {"iou_threshold": "0.5", "specific_label": ["2"]}
    (found,) = CompareConfig.model_validate({"checks": {"precision_recall": labels}}).checks
    assert (found.iou_threshold, found.specific_label) == (0.5, 2)


def test_what_is_left_out_is_as_in_the_app() -> None:
    """Higher is better, by more than 0."""
    (found,) = CompareConfig.model_validate({"checks": [{"type": "plot", "figure": "x"}]}).checks
    assert (found.metric, found.better, found.min_delta) == ("x", Direction.MAX, 0.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"wins": "some"}, "a share from 0 to 1, any, or all belongs here, not 'some': write one"),
        ({"wins": 1.5}, "any, or all belongs here, not 1.5"),
        ({"wins": -0.1}, "not -0.1"),
        ({"wins": "nan"}, "not 'nan'"),
        ({"wins": math.inf}, "not inf"),
        ({"wins": True}, "belongs here, not True"),
        ({"wins": [0.5]}, "not a list of 1"),
        ({"check": []}, "there is no key named 'check': did you mean 'checks'?"),
        ({"checks": [{"metric": "f1"}], "verbose": True}, "there is no key named 'verbose'"),
        ({"checks": [{"metrik": "f1"}]}, "named 'metrik': did you mean 'metric'?"),
        ({"checks": {"f1": 3}}, "checks.0: "),
        ({"checks": [{"metric": "auc"}]}, "not 'auc': set direction to max or min"),
        ({"checks": [{"figure": "a", "maximize": 1}]}, "maximize is true or false, not 1: write"),
        (
            {"checks": {"precision_recall": {"specific_label": [1, 2]}}},
            "specific_label is one class, not a list of 2: write a check for each of them",
        ),
        (
            {"checks": [{"metric": "f1", "max_slice_loss": 0.1}]},
            "checks.0: max_slice_loss needs slice_by: name a key of the items' metadata",
        ),
        (
            {"checks": [{"metric": "f1", "x_index": 3}]},
            "checks.0: x_index has no effect without figure: name the curve's figure",
        ),
        (
            {"checks": [{"metric": "f1", "iou_threshold": 0.5}]},
            "iou_threshold has no effect unless metric is precision_recall: remove it",
        ),
        (
            {"checks": [{"metric": "latency", "confidence": 0.9}]},
            "confidence has no effect for latency, which has no samples: remove it",
        ),
        (
            {"checks": [{"metric": "loss", "figure": "loss", "slice_by": "site"}]},
            "slice_by has no effect for a training curve, which has no samples: remove it",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(value: Any, message: str) -> None:
    assert message in refusal(value)


@pytest.mark.parametrize(
    ("check", "better"),
    [
        ({"metric": "latency"}, Direction.MIN),
        ({"metric": "precision_recall"}, Direction.MAX),
        ({"metric": "x", "direction": "min"}, Direction.MIN),
        ({"metric": "x", "figure": "loss", "legend": "validation"}, Direction.MIN),
        ({"metric": "x", "figure": "validation", "legend": "f1"}, Direction.MAX),
        ({"metric": "x", "figure": "loss", "direction": "max"}, Direction.MAX),
    ],
)
def test_which_way_is_better(check: Any, better: Direction) -> None:
    assert CheckConfig(**check).better is better


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["checks", "wins", "figure", "metric"]),
                                      inner, max_size=3), max_leaves=6))  # fmt: skip
def test_anything_else_is_refused_in_words(value: Any) -> None:
    try:
        config = CompareConfig.model_validate(value)
    except ValidationError as error:
        said = explain(error, CompareConfig)
    else:
        assert CompareConfig.model_validate(config.model_dump(mode="json")) == config
        said = "accepted"
    assert said


@pytest.mark.parametrize("form", [TRAINING, EVALUATION, {}, {"checks": [{"metric": "f1"}]}])
def test_our_form_stays_as_it_is(form: Any) -> None:
    ours = CompareConfig.model_validate(form).model_dump(mode="json")
    assert CompareConfig.model_validate(ours).model_dump(mode="json") == ours
    before = json.dumps(form)
    as_checks(form)
    assert json.dumps(form) == before, "what was given is left alone"
