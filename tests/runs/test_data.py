from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from querist.errors import DataError, LabelError
from querist.pools import TensorPool
from querist.runs.data import _consensus, prepare_data
from querist.tracking.served_learner import ServedLearner
from querist.values import Label, Task


@pytest.mark.parametrize("value", [2, -1, 1.0, True, "1", None, [1], float("nan")])
def test_labels_outside_the_classes(new_run: Any, value: Any) -> None:
    with pytest.raises(LabelError, match=r"a class 0 to 1, not .* for sample 7"):
        new_run().data.check_label(Label(7, value))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), [1.0, float("nan")], "x", True, None]
)
def test_numbers_that_are_no_labels(new_run: Any, component: Any, value: Any) -> None:
    run = new_run(**regression(component))
    run.data.check_label(Label(7, 1.5))
    with pytest.raises(LabelError, match="a finite number or a list of them"):
        run.data.check_label(Label(7, value))


def regression(component: Any, width: int = 0) -> dict[str, Any]:
    def make() -> TensorPool:
        features = torch.rand(40, 2)
        targets = features.sum(1) if not width else features.repeat(1, width)[:, :width]
        return TensorPool(features, targets)

    return {
        "data": {
            "pool": {"name": component("pool", make)},
            "split": {"test": 0.25},
            "initial": {"count": 5, "stratify": False},
        },
        "learner": {"name": "sklearn", "options": {"estimator": "Ridge"}},
        "strategies": {"query": {"name": "random", "n": 5}, "metrology": ["mse", "r2"]},
    }


def test_vectors_as_targets(new_run: Any, component: Any, drive: Any) -> None:
    run = new_run(**regression(component, width=3))
    drive.finish(run)
    assert run.labeled(2).targets.shape == (15, 3)


def test_consensus_of_annotators() -> None:
    assert _consensus([1, 0, 1], Task.CLASSIFICATION) == 1
    assert _consensus([1, 0], Task.CLASSIFICATION) == 0, "a tie goes to the lower class"
    assert _consensus([1.0, 2.0], Task.REGRESSION) == 1.5
    assert _consensus([[1.0, 0.0], [3.0, 1.0]], Task.REGRESSION) == [2.0, 0.5]


def test_split_and_initial_labels_are_disjoint_and_kept(new_run: Any, drive: Any) -> None:
    changes = {
        "data": {
            "pool": {"name": "digits"},
            "split": {"test": 0.2, "validation": 0.1},
            "initial": {"share": 0.05, "count": None, "stratify": True},
        },
        "learner": {"name": "sklearn", "options": {"estimator": "GaussianNB"}},
    }
    run = new_run(**changes)
    parts = [
        run.data.initial,
        run.data.queryable,
        run.data.test.indices,
        run.data.validation.indices,
    ]
    together = torch.cat(parts)
    assert len(together.unique()) == len(together) == 1797
    again = drive.reopened(run)
    assert torch.equal(again.data.initial, run.data.initial)
    assert torch.equal(again.data.test.indices, run.data.test.indices)
    assert torch.equal(again.data.queryable, run.data.queryable)


class Folder(Dataset[Any]):
    """A map-style data set as torchvision's are."""

    def __init__(self, n: int = 60, names: bool = False) -> None:
        self.points = torch.rand(n, 2, generator=torch.Generator().manual_seed(0))
        self.classes: Any = ["left", "right"] if names else 2

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Any:
        return self.points[index], int(self.points[index, 0] > 0.5)


@pytest.mark.parametrize("names", [False, True])
def test_a_map_style_data_set_is_a_pool(
    new_run: Any, component: Any, drive: Any, names: bool
) -> None:
    pool = component("pool", Folder)
    data = {"pool": {"name": pool, "options": {"names": names}}, "split": {"test": 0.2}}
    run = new_run(data=data)
    assert run.data.pool.classes == 2
    drive.finish(run)
    assert len(run.labeled(2)) == 20
    again = new_run(data=data)
    drive.finish(again)
    assert drive.content(again) == drive.content(run)


def test_what_is_no_pool(new_run: Any, component: Any) -> None:
    with pytest.raises(DataError, match=r"data.pool gives a \w+: a pool has `features`"):
        new_run(data={"pool": {"name": component("pool", lambda: 3)}})


def test_a_function_that_makes_an_appending_data_set_is_refused(
    experiment: Any, component: Any
) -> None:
    class Growing(list[Any]):
        """Has `append`, as every list."""

    name = component("pool", lambda: Growing([(torch.zeros(2), 0)]))
    with pytest.raises(DataError, match="name its class itself"):
        prepare_data(experiment(data={"pool": name}))


def labels(component: Any, value: float = 1.0) -> dict[str, Any]:
    """Three labels at once, each `value` or 0."""

    def make() -> TensorPool:
        features = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
        sums = features.sum(1, keepdim=True)
        return TensorPool(features, value * (sums > torch.tensor([0.5, 1.0, 1.5])).float())

    return {
        "data": {
            "pool": {"name": component("pool", make)},
            "split": {"test": 0.25},
            "initial": {"count": 5, "stratify": False},
        },
        "training": {"loss": "multilabel"},
        "strategies": {
            "query": {"name": "binary_minimum", "n": 5},
            "metrology": ["f1_micro", "f1_macro", "subset_accuracy", "hamming_loss"],
        },
        "gate": {"name": "compare", "options": {"wins": 0.5}},
    }


MLP = {"name": "examples.digits.model:DigitClassifier", "options": {"features": 2, "classes": 3}}


def test_several_labels_at_once(new_run: Any, component: Any, drive: Any) -> None:
    run = new_run(**{**labels(component), "learner": MLP})
    assert run.data.task is run.learner.task is Task.MULTILABEL
    for value in ([1.0, 0.0], [1.0, 0.0, 0.5], 1.0, [True, False, True], [1.0, 0.0, math.nan]):
        with pytest.raises(LabelError, match="a list of"):
            run.data.check_label(Label(7, value))
    drive.finish(run)
    assert run.labeled(2).targets.shape == (15, 3)
    served = ServedLearner(
        run.reference.folder / "experiment.yaml", run.checkpoints.path(2), dtype="float32",
        packages=["examples"],
    )  # fmt: skip
    likely = served.predict(run.data.pool.features(torch.arange(40)))
    assert likely.shape == (40, 3)
    assert not math.isclose(float(likely[0].sum()), 1.0, abs_tol=1e-3)
    again = drive.reopened(run)
    assert again.data.task is Task.MULTILABEL
    assert torch.equal(again.labeled(2).targets, run.labeled(2).targets)
    assert sorted(run.ledger.metrology()[2]) == [
        "f1_macro", "f1_micro", "hamming_loss", "subset_accuracy",
    ]  # fmt: skip


def test_other_numbers_are_no_labels(new_run: Any, component: Any) -> None:
    with pytest.raises(DataError, match=r"of the \w+ set have the shape \(\d+, 3\), from 0 to 2"):
        new_run(**{**labels(component, value=2.0), "learner": MLP})


def test_each_label_has_its_own_majority() -> None:
    votes = [[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    assert _consensus(list(votes), Task.MULTILABEL) == [1.0, 1.0, 0.0]
    assert _consensus(list(votes[:2]), Task.MULTILABEL) == [1.0, 0.0, 0.0], "a tie: not there"
