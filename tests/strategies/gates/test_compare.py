"""Champion against challenger: contracts, verdicts in words, and options that are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.gates.compare import Compare
from querist.testing import GateContract
from querist.values import Check, Evaluation, Outcomes, Task, Verdict
from tests.strategies.gates.test_detection import ELSEWHERE, ONE, images

DIGEST = "d" * 64


class TestContract(GateContract):
    def make(self) -> Compare:
        return Compare([{"metric": "f1"}])


class TestContractWithAMargin(GateContract):
    def make(self) -> Compare:
        return Compare([{"metric": "f1", "min_delta": 0.25}], wins=0.7)


class TestContractOfTheSameTwice(GateContract):
    def make(self) -> Compare:
        return Compare([{"metric": "f1"}, {"metric": "f1", "min_delta": 0.39}], wins="any")


class TestContractOfErrors(GateContract):
    metric, worse, better = "mse", 0.9, 0.1

    def make(self) -> Compare:
        return Compare([{"metric": "mse"}], wins=1)


class TestContractOfLatency(GateContract):
    metric, worse, better = "latency", 0.9, 0.1

    def make(self) -> Compare:
        return Compare([{"metric": "latency"}])


class TestContractOfAnUnknownMetric(GateContract):
    metric = "auc"

    def make(self) -> Compare:
        return Compare({"auc": {"direction": "max"}})


class TestContractOfATrainingCurve(GateContract):
    metric = "mAP50(B)/metrics"

    def make(self) -> Compare:
        check = {"type": "plot", "figure": "mAP50(B)", "legend": "metrics", "x_index": -1}
        return Compare([check])

    def evaluation(self, value: float | None, test_digest: str = DIGEST) -> Evaluation:
        curves = {} if value is None else {self.metric: [0.1, value]}
        return Evaluation(3, {}, test_digest, curves=curves)


class TestContractWithConfidence(GateContract):
    """The metric is computed from what each says of 100 samples."""

    metric = "accuracy"

    def make(self) -> Compare:
        return Compare([{"metric": "accuracy", "confidence": 0.95}])

    def evaluation(self, value: float | None, test_digest: str = DIGEST) -> Evaluation:
        if value is None or not math.isfinite(value):
            return Evaluation(3, {} if value is None else {"accuracy": value}, test_digest)
        return right_on(int(100 * value), test_digest)


def right_on(right: int, digest: str = DIGEST, size: int = 100, **more: Any) -> Evaluation:
    """A model that is right on the first samples of two alternating classes."""
    targets = torch.arange(size) % 2
    predictions = torch.where(torch.arange(size) < right, targets, 1 - targets)
    outcomes = Outcomes(Task.CLASSIFICATION, 2, targets, predictions, **more)
    return Evaluation(3, {}, digest, outcomes)


class TestContractOfDataloopsExample(GateContract):
    metric = "precision_recall"

    def make(self) -> Compare:
        return Compare({"precision_recall": {"iou_threshold": 0.5, "min_delta": 0}})


def sites(**slices: list[int]) -> dict[str, dict[str, torch.Tensor]]:
    return {"site": {name: torch.tensor(rows) for name, rows in slices.items()}}


HALVES = sites(north=list(range(50)), south=list(range(50, 100)))


def measured(digest: str = DIGEST, **metrics: float) -> Evaluation:
    return Evaluation(3, metrics, digest)


def judge(champion: Any, challenger: Any, checks: Any, wins: Any = None) -> Verdict:
    return Compare(checks, wins).compare(champion, challenger)


def test_one_check_gives_its_own_reason() -> None:
    verdict = judge(measured(f1=0.8), measured(f1=0.9), {"f1": {"min_delta": 0.05}})
    reason = "f1 0.9 is higher than 0.8 by more than 0.05"
    assert verdict == Verdict(
        True, reason, (Check("f1", 0.8, 0.9, 0.05, True, reason, gain=0.1),)
    )  # fmt: skip
    assert verdict.action == "update_model"


def test_several_checks_are_counted() -> None:
    checks = [{"metric": metric} for metric in ("f1", "log_loss", "r2")]
    old, new = measured(f1=0.8, log_loss=0.5, r2=0), measured(f1=0.9, log_loss=0.4, r2=0)
    verdict = judge(old, new, checks, "0.6")
    assert verdict.promote
    assert verdict.reason == (
        "the challenger wins 2 of 3 sub-comparisons (f1, log_loss); a share of 0.6 is needed"
    )
    assert [check.won for check in verdict.checks] == [True, True, False]
    assert not judge(old, new, checks, 0.7).promote
    assert not judge(old, new, checks, "all").promote
    assert judge(old, new, checks, "any").promote


def test_a_share_of_zero_needs_evidence_and_no_win() -> None:
    verdict = judge(measured(f1=0.9), measured(f1=0.8), [{"metric": "f1"}], 0)
    assert verdict.promote
    assert verdict.reason == "f1 0.8 is not higher than 0.9; a share of 0 is needed"


@pytest.mark.parametrize(
    ("champion", "challenger", "reason"),
    [
        (measured(f1=0.5), measured(), "the challenger's f1 is missing (it was not measured)"),
        (None, measured(f1=math.nan), "the challenger's f1 is nan"),
        (measured(f1=0.5), measured(f1=math.inf), "the challenger's f1 is inf"),
        (
            measured(), measured(f1=0.9),
            "the champion's f1 is missing (it was not measured): nothing to compare with",
        ),
        (
            measured(f1=math.nan), measured(f1=0.9),
            "the champion's f1 is nan: nothing to compare with",
        ),
        (
            measured("abcdefgh0", f1=0.5), measured("12345678a", f1=0.9),
            "the test sets differ (abcdefgh and 12345678): nothing is compared",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wins", ["any", "all", 0, 0.5])
def test_what_cannot_be_compared_is_not_promoted(
    champion: Any, challenger: Any, reason: str, wins: Any
) -> None:
    verdict = judge(champion, challenger, [{"metric": "f1"}], wins)
    assert (verdict.promote, verdict.reason, verdict.action) == (False, reason, "discard")
    assert [check.won for check in verdict.checks] == [False]


def test_one_broken_check_is_enough_and_all_are_shown() -> None:
    checks = [{"metric": metric} for metric in ("f1", "mse", "r2")]
    verdict = judge(measured(f1=0.8, r2=0.1), measured(f1=0.9, r2=math.nan), checks, "any")
    assert not verdict.promote
    assert verdict.reason == "the challenger's mse is missing (it was not measured) (and 1 more)"
    assert [check.won for check in verdict.checks] == [True, False, False]


def test_test_sets_of_one_digest_that_differ_are_found_out() -> None:
    old, new = right_on(50), right_on(90)
    assert new.outcomes is not None
    new.outcomes.targets[0] = 1
    verdict = judge(old, new, [{"metric": "accuracy"}])
    assert (verdict.promote, verdict.reason) == (
        False, "the truth of the test sets differs: nothing is compared",
    )  # fmt: skip


def test_boxes_of_other_images_are_found_out() -> None:
    one, other = ([(0.9, ONE)], [ONE]), ([(0.9, ONE)], [ELSEWHERE])
    check = {"precision_recall": {}}
    for old, new in (((one, one), (one,)), ((one, one), (one, other))):
        sides = [Evaluation(3, {}, DIGEST, images(*side)) for side in (old, new)]
        assert judge(*sides, check, 0).reason.startswith("the truth of the test sets differs")
    missed = Evaluation(3, {}, DIGEST, images(one, ([], [ONE])))
    verdict = judge(missed, Evaluation(3, {}, DIGEST, images(one, one)), check)
    assert verdict.reason == "precision_recall 1 is higher than 0.5"


def test_the_area_may_be_measured_under_its_other_name() -> None:
    assert judge(measured(auc_pr=0.7), measured(auc_pr=0.8), {"precision_recall": {}}).promote
    only = {"precision_recall": {"specific_label": 1}}
    assert not judge(measured(auc_pr=0.7), measured(auc_pr=0.8), only).promote


def test_an_interval_stands_beside_each_gain_from_samples() -> None:
    (check,) = judge(right_on(50), right_on(70), [{"metric": "accuracy"}]).checks
    assert check.gain == 0.2
    assert check.low is not None
    assert check.high is not None
    assert 0.05 < check.low < 0.2 < check.high < 0.35


def test_a_metric_measured_in_another_way_has_no_interval() -> None:
    """The interval would be of another number."""
    old, new = right_on(50), right_on(70)
    old.metrics["accuracy"], new.metrics["accuracy"] = 0.5, 0.6  # type: ignore[index]
    (check,) = judge(old, new, [{"metric": "accuracy"}]).checks
    assert (check.champion, check.challenger, check.low, check.high) == (0.5, 0.6, None, None)
    (surely,) = judge(old, new, [{"metric": "accuracy", "confidence": 0.9}]).checks
    assert (surely.champion, surely.challenger) == (0.5, 0.7), "computed from samples, both"


def test_both_numbers_come_from_where_both_can() -> None:
    old, new = right_on(50), right_on(70)
    old.metrics["accuracy"] = 0.9  # type: ignore[index]
    (check,) = judge(old, new, [{"metric": "accuracy"}]).checks
    assert (check.champion, check.challenger) == (0.5, 0.7)


def test_confidence_decides_where_it_is_set() -> None:
    old, new = right_on(50), right_on(54)
    sure = {"metric": "accuracy", "min_delta": 0.02}
    assert judge(old, new, [sure]).promote
    verdict = judge(old, new, [{**sure, "confidence": 0.95}])
    assert not verdict.promote
    assert "accuracy 0.54 is higher than 0.5 by more than 0.02; with probability" in verdict.reason
    assert verdict.reason.endswith("the gain is above 0.02, 0.95 is needed")
    assert judge(old, right_on(70), [{**sure, "confidence": 0.95}]).promote


def test_confidence_needs_samples() -> None:
    check = [{"metric": "f1", "confidence": 0.9}]
    verdict = judge(measured(f1=0.1), measured(f1=0.9), check)
    assert verdict.reason == "the challenger's f1 is missing (it was not measured)"


def test_slices_are_sub_comparisons_of_their_own() -> None:
    """The second half gets worse, the whole gets better."""
    check = {"metric": "accuracy", "slice_by": "site"}
    old, new = right_on(60), right_on(80)
    for one in (old, new):
        one.outcomes.slices.update(sites(a=list(range(40)), b=list(range(40, 100)), c=[1, 2]))  # type: ignore
    verdict = judge(old, new, [check], 0.5)
    assert [(c.metric, c.won, c.judged) for c in verdict.checks] == [
        ("accuracy", True, True),
        ("accuracy (site a)", False, True),
        ("accuracy (site b)", True, True),
        ("accuracy (site c)", False, False),
    ]
    assert verdict.reason == (
        "the challenger wins 2 of 3 sub-comparisons (accuracy, accuracy (site b)); "
        "a share of 0.5 is needed"
    )
    assert verdict.checks[3].reason == (
        "a slice of 2 samples is shown and not judged, min_slice_size is 20"
    )


def test_no_slice_gets_worse_by_more_than_it_may() -> None:
    old, new = right_on(70, slices=HALVES), right_on(80, slices=HALVES)
    assert new.outcomes is not None
    new.outcomes.predictions[:5] = 1 - new.outcomes.targets[:5]  # 0.1 worse in the north
    check = {"metric": "accuracy", "slice_by": "site", "max_slice_loss": 0.1}
    verdict = judge(old, new, [check])
    assert verdict.promote, "reached is allowed"
    assert [(c.metric, c.won, c.judged, c.min_delta) for c in verdict.checks] == [
        ("accuracy", True, True, 0.0),
        ("accuracy (site north)", True, False, -0.1),
        ("accuracy (site south)", True, False, -0.1),
    ]
    verdict = judge(old, new, [{**check, "max_slice_loss": 0.09}])
    assert not verdict.promote
    assert verdict.reason == (
        "accuracy 0.75 is higher than 0.7, but accuracy (site north) 0.9 is worse than 1 by more "
        "than 0.09"
    )
    assert [c.won for c in verdict.checks] == [False, False, True]


def test_small_slices_forbid_nothing() -> None:
    slices = sites(tiny=[0, 1], rest=list(range(2, 100)))
    old, new = right_on(70, slices=slices), right_on(80, slices=slices)
    assert new.outcomes is not None
    new.outcomes.predictions[:2] = 1 - new.outcomes.targets[:2]
    check = {"metric": "accuracy", "slice_by": "site", "max_slice_loss": 0.0}
    assert judge(old, new, [check]).promote
    assert not judge(old, new, [{**check, "min_slice_size": 2}]).promote


@pytest.mark.parametrize("loss", [None, 0.1])
def test_a_slice_without_a_number_promotes_nothing(loss: float | None) -> None:
    targets = torch.arange(100) % 2
    chances = torch.nn.functional.one_hot(targets, 2).double()
    north = sites(north=list(range(0, 100, 2)))  # of one class: it has no ROC
    new = Evaluation(
        3, {}, DIGEST, Outcomes(Task.CLASSIFICATION, 2, targets, targets, chances, north)
    )  # fmt: skip
    check = {"metric": "roc_auc", "slice_by": "site", "max_slice_loss": loss}
    for champion in (None, new):
        verdict = judge(champion, new, [check], 0)
        assert not verdict.promote
        assert verdict.reason == "the challenger's roc_auc (site north) is nan"
        assert [(c.won, c.judged) for c in verdict.checks][1] == (False, True)


def test_slices_that_nobody_made_promote_nothing() -> None:
    verdict = judge(right_on(50), right_on(90), [{"metric": "accuracy", "slice_by": "site"}], "any")
    assert not verdict.promote
    assert verdict.reason == (
        "the test set has no slices by 'site': accuracy is missing there"
    )  # fmt: skip


def test_the_first_is_judged_by_all_of_its_numbers() -> None:
    new = right_on(50, slices=HALVES, seconds=0.5)
    checks = [{"metric": "accuracy", "slice_by": "site"}, {"metric": "latency"}]
    verdict = judge(None, new, checks)
    assert verdict.promote
    assert verdict.reason == (
        "no champion yet: accuracy 0.5, accuracy (site north) 1, accuracy (site south) 0, "
        "latency 0.5 are the first"
    )
    assert not judge(None, right_on(50, slices=HALVES), checks).promote


def test_latency_is_better_when_it_is_shorter() -> None:
    old, new = right_on(50, seconds=0.5), right_on(50, seconds=0.25)
    (check,) = judge(old, new, {"latency": {"min_delta": 0.1}}).checks
    assert (check.won, check.gain, check.low) == (True, 0.25, None)
    verdict = judge(old, right_on(50), {"latency": {}})
    assert verdict.reason == (
        "the challenger's latency is missing (nobody measured how long a prediction takes)"
    )


@pytest.mark.parametrize(
    ("options", "old", "new", "promote", "reason"),
    [
        ({"x_index": -1}, [3, 1, 2], [9, 9, 1.5], True, "loss/val 1.5 is lower than 2"),
        ({"x_index": 0}, [3, 1, 2], [9, 9, 1.5], False, "loss/val 9 is not lower than 3"),
        ({}, [3, 1, 2], [9, 0.5, 8], True, "loss/val 0.5 is lower than 1"),
        ({}, [3, 1, 2], [0.5, math.nan], False, "the challenger's loss/val is nan"),
        (
            {"x_index": 2}, [3, 1, 2], [1, 1], False,
            "the challenger's loss/val is missing (x_index 2 is none of its 2 epochs)",
        ),
        (
            {}, [3], [], False,
            "the challenger's loss/val is missing (there is no such training curve, known are: "
            "loss/val)",
        ),
    ],
)  # fmt: skip
def test_training_curves(options: Any, old: Any, new: Any, promote: bool, reason: str) -> None:
    sides = [Evaluation(3, {}, DIGEST, curves={"loss/val": curve}) for curve in (old, new)]
    check = {"figure": "loss", "legend": "val", "type": "plot", "maximize": False, **options}
    verdict = judge(*sides, [check])
    assert (verdict.promote, verdict.reason) == (promote, reason)


def test_a_metric_of_the_wrong_task_says_so() -> None:
    verdict = judge(right_on(50), right_on(90), [{"metric": "mse"}])
    assert verdict.reason.startswith("the challenger's mse is missing (mse measures regression")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checks": [{"metric": "auc"}]}, "checks.0: .*not 'auc': set direction to max or min"),
        ({"checks": [{"metric": "f1", "confidenc": 0.9}]}, "did you mean 'confidence'"),
        ({"wins": 2}, "wins: a share from 0 to 1, any, or all belongs here, not 2"),
        (
            {"checks": [{"metric": "mine", "direction": "max", "confidence": 0.9}]},
            "confidence needs a metric that is computed from predictions on samples, unlike 'mine'",
        ),
        (
            {"checks": [{"metric": "kappa", "slice_by": "site"}]},
            "slice_by needs a metric .* unlike 'kappa': name one that metrology has",
        ),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Compare(**options)


def test_what_it_says_of_itself() -> None:
    gate = Compare([
        {"metric": "f1"}, {"metric": "mine", "direction": "max"}, {"metric": "latency"},
        {"metric": "f1", "slice_by": "site"}, {"figure": "loss", "type": "plot"},
    ])  # fmt: skip
    assert gate.wants_outcomes
    assert gate.needs == ("mine",)
    assert gate.not_in_runs == ("latency", "slices by site", "training curve loss")
