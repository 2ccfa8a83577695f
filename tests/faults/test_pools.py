"""Rows 18 and 19: odd pools end with a reason or an error in words; NaN is never chosen."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import DataError, QueristError, StrategyError
from querist.pools import CombinedPool, DatasetPool, TensorPool
from querist.registry import build
from querist.runs import close_run, create_run
from tests.shared.runs import component, drive, experiment, new_run  # noqa: F401


def pool_of(
    features: Any, targets: Any = None, *, test: int = 6, classes: int | None = 2
) -> TensorPool:
    """A pool that brings a sound test set of its own."""
    kept = torch.linspace(100, 101, test * 2).reshape(test, 2)
    truth = torch.arange(test) % 2
    held = TensorPool(kept, truth if classes else truth.double(), classes=classes)
    return TensorPool(features, targets, classes=classes, held_out={"test": held})


def points(n: int) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(n))


def moons(n: int = 20) -> TensorPool:
    return pool_of(points(n), torch.arange(n) % 2)


def one_class(n: int = 20) -> TensorPool:
    return pool_of(points(n), torch.zeros(n, dtype=torch.int64))


def rare_class(n: int = 20) -> TensorPool:
    return pool_of(points(n), (torch.arange(n) == n - 1).long())


def duplicates(n: int = 20) -> TensorPool:
    return pool_of(torch.ones(n, 2), torch.arange(n) % 2)


def zeros(n: int = 20) -> TensorPool:
    return pool_of(torch.zeros(n, 2), torch.arange(n) % 2)


def also_in_test(n: int = 20) -> TensorPool:
    features = points(n)
    features[3] = torch.tensor([100.0, 100 + 1 / 11])
    found = pool_of(features, torch.arange(n) % 2)
    features[3] = found.held_out["test"].features(torch.tensor([0]))[0]
    return found


CONSTANT = {"name": "sklearn", "options": {"estimator": "DummyClassifier"}}
MARGIN: dict[str, Any] = {"query": {"name": "margin", "n": 5}}

# name: pool, changes, what the stop reason or the error says
TABLE: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "empty pool": (lambda: pool_of(torch.empty(0, 2), torch.empty(0).long()), {}, "is empty"),
    "one sample": (lambda: moons(1), {"data": {"initial": {"count": 1}}}, "only class 0"),
    "nothing left to ask for": (
        lambda: moons(4), {"data": {"initial": {"count": 4, "stratify": False}}}, "pool exhausted"),
    "more at the start than there are": (
        lambda: moons(4), {"data": {"initial": {"count": 5}}}, "asks for 5 of the 4"),
    "exhausted pool": (
        lambda: moons(13), {"driver": {"max_active_learning_steps": 9}}, "pool exhausted"),
    "batch > pool": (
        lambda: moons(13),
        {"strategies": {"query": {"name": "margin", "n": 500}}}, "pool exhausted"),
    "batch of a billion": (
        lambda: moons(13), {"strategies": {"query": "margin", "batch": 10**9}}, "pool exhausted"),
    "two strategies, batch > pool": (
        lambda: moons(13),
        {"strategies": {"query": [{"name": "margin", "n": 99}, {"name": "random", "n": 99}]}},
        "pool exhausted"),
    "one class in the pool": (one_class, {}, "only class 0"),
    "one class at the start": (
        rare_class, {"data": {"initial": {"count": 3, "stratify": True}}}, "only class 0"),
    "one class at the start, indices": (
        moons, {"data": {"initial": {"count": None, "stratify": False, "indices": [0, 2, 4]}}},
        "only class 0"),
    "duplicates": (duplicates, {}, "max iterations|pool exhausted"),
    "zeros": (zeros, {}, "max iterations|pool exhausted"),
    "constant scores": (moons, {"learner": CONSTANT}, "max iterations|pool exhausted"),
    "a test sample in the pool": (also_in_test, {}, "same features"),
    "a huge value": (
        lambda: pool_of(points(20).double() * 1e300, torch.arange(20) % 2), {},
        "finite|max iterations|pool exhausted"),
    "no samples asked for twice": (
        lambda: moons(20), {"data": {"initial": {"count": None, "stratify": False,
                                                 "indices": [1, 1]}}}, "repeated"),
    "everything is held back": (
        lambda: TensorPool(points(20), torch.arange(20) % 2),
        {"data": {"split": {"test": 0.99, "stratify": False}}}, "leaves none"),
    "a split of less than one sample": (
        lambda: TensorPool(points(20), torch.arange(20) % 2),
        {"data": {"split": {"test": 0.001, "stratify": False}}}, "less than one"),
    "no test set": (lambda: TensorPool(points(20), torch.arange(20) % 2), {}, "held-out"),
    "NaN in the truth": (
        lambda: pool_of(points(20), torch.full((20,), math.nan), classes=None),
        {"learner": {"name": "sklearn", "options": {"estimator": "LinearRegression"}},
         "strategies": {"query": {"name": "random", "n": 5}, "metrology": "mae"},
         "data": {"initial": {"stratify": False}}}, "targets must be finite"),
}  # fmt: skip


@pytest.mark.parametrize("query", ["margin", "entropy", "least_confidence", "random"])
@pytest.mark.parametrize("name", TABLE)
def test_odd_pools(
    name: str,
    query: str,
    component: Callable[..., str],  # noqa: F811
    experiment: Callable[..., Any],  # noqa: F811
    drive: Any,  # noqa: F811
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    make, changes, words = TABLE[name]
    if "query" in changes.get("strategies", {}) and query != "margin":
        pytest.skip("this case names its own query strategies")
    tried(18)
    data = {**changes.get("data", {}), "pool": {"name": component("pool", make), "options": {}}}
    strategies = {"query": {"name": query, "n": 5}, **changes.get("strategies", {})}
    made = experiment(**{**changes, "data": data, "strategies": strategies})
    try:
        run = create_run(made)
    except QueristError as error:
        said = str(error)
    else:
        try:
            said = drive.finish(run).reason
            chosen = run.ledger.selected().tolist()
            assert len(set(chosen)) == len(chosen)
        except QueristError as error:
            said = str(error)
        finally:
            close_run(run.reference)
    assert said
    assert "\n" not in said
    assert any(word in said for word in words.split("|")), said
    survived(18)


class Proposing(TensorPool):
    """Proposes its samples with one bad value."""

    bad = math.nan

    def propose(self, iteration: int, generator: torch.Generator) -> torch.Tensor:
        found = torch.randn(10, 2, generator=generator)
        found[7, 1] = self.bad
        return found


class Making:
    """A query strategy that makes its own samples."""

    bad = math.nan

    def sample(self, context: Any, n: int) -> Any:
        from querist.values import Selection

        made = [torch.tensor([0.0, self.bad])]
        return Selection((), (0.0,), samples=torch.stack(made))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("who", ["pool", "strategy"])
def test_samples_that_are_made(
    bad: float,
    who: str,
    component: Callable[..., str],  # noqa: F811
    new_run: Callable[..., Any],  # noqa: F811
    drive: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    tried(19)
    monkeypatch.setattr(Proposing, "bad", bad if who == "pool" else 0.0)
    monkeypatch.setattr(Making, "bad", bad)

    def pool() -> TensorPool:
        kept = moons()
        made = Proposing(points(20), torch.arange(20) % 2, classes=2, held_out=kept.held_out)
        return made if who == "pool" else kept

    query = "margin" if who == "pool" else component("query", Making)
    run = new_run(
        data={"pool": {"name": component("pool", pool), "options": {}}},
        strategies={"query": {"name": query, "n": 3}},
    )
    with pytest.raises((DataError, StrategyError), match=r"finite|NaN or infinite"):
        drive.iterate(run, 0)
    assert not len(run.ledger.selected(0))
    survived(19)


dtypes = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16])
bads = st.sampled_from([math.nan, math.inf, -math.inf])


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[torch.Tensor, set[int]]:
    """Features `(n, ...)`, and the samples with a value that is not finite."""
    n = draw(st.integers(1, 30))
    shape = draw(st.sampled_from([(2,), (1,), (3, 2), (2, 2, 2)]))
    features = torch.zeros(n, *shape, dtype=draw(dtypes))
    where = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, 7), bads), max_size=5))
    flat = features.view(n, -1)
    for row, column, bad in where:
        flat[row, column % flat.shape[1]] = bad
    return features, {row for row, _, _ in where}


def as_tensors(features: torch.Tensor, folder: Path) -> Any:
    return TensorPool(features)


def as_arrays(features: torch.Tensor, folder: Path) -> Any:
    return TensorPool(features.double().numpy())


def as_items(features: torch.Tensor, folder: Path) -> Any:
    return DatasetPool(list(features))


def as_file(features: torch.Tensor, folder: Path) -> Any:
    np.save(folder / "x.npy", features.float().numpy())
    return build("pool", "npy", {"features": str(folder / "x.npy")})


def as_initial(features: torch.Tensor, folder: Path) -> Any:
    return CombinedPool(TensorPool(features[:0]), TensorPool(features))


@pytest.mark.parametrize("make", [as_tensors, as_arrays, as_items, as_file, as_initial])
def test_features_that_are_not_finite(
    make: Callable[[torch.Tensor, Path], Any],
    tries: Callable[..., int],
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    from querist.pools.check import check_pool

    @settings(
        max_examples=tries(19, 60, 1_000), deadline=None, derandomize=bool(os.environ.get("CI"))
    )
    @given(spoilt())
    def check(case: tuple[torch.Tensor, set[int]]) -> None:
        tried(19)
        features, bad = case
        with tempfile.TemporaryDirectory() as folder:
            pool = make(features, Path(folder))
            if bad:
                count = f"{len(bad)} of the {len(features)} samples .* first is sample {min(bad)}"
                with pytest.raises(DataError, match=count):
                    check_pool(pool)
            else:
                assert len(check_pool(pool)) == 64
        survived(19)

    check()


@pytest.mark.parametrize("query", ["margin", "entropy", "least_confidence"])
def test_a_learner_that_gives_nan(
    query: str, tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    from querist.context import QueryContext
    from querist.pools import LabeledSet
    from querist.testing.predictors import FixedProbabilities

    tried(19)
    probabilities = torch.full((20, 2), 0.5)
    probabilities[7, 0] = math.nan
    pool = TensorPool(points(20))
    context = QueryContext(
        learner=FixedProbabilities(lambda features: probabilities),
        pool=pool,
        unlabeled=torch.arange(20),
        labeled=LabeledSet(pool, torch.arange(0), torch.arange(0)),
        generator=torch.Generator(),
        device=torch.device("cpu"),
        chunk_size=64,
        iteration=0,
    )
    with pytest.raises(StrategyError, match="first is sample 7"):
        build("query", query, {}).sample(context, 3)
    survived(19)


@pytest.mark.parametrize("where", ["the pool", "data.initial.pool", "its test set"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_run_on_features_that_are_not_finite(
    where: str,
    bad: float,
    component: Callable[..., str],  # noqa: F811
    experiment: Callable[..., Any],  # noqa: F811
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    tried(19)

    def spoil(pool: TensorPool) -> TensorPool:
        pool._features[2, 1] = bad  # type: ignore[call-overload]
        return pool

    def pool() -> TensorPool:
        made = moons()
        if where == "its test set":
            spoil(made.held_out["test"])
        return spoil(made) if where == "the pool" else made

    initial = {"count": 10, "stratify": True, "pool": None}
    if where == "data.initial.pool":
        start = component("pool", lambda: spoil(moons(12)))
        initial = {"count": None, "stratify": False, "pool": {"name": start, "options": {}}}
    data = {"pool": {"name": component("pool", pool), "options": {}}, "initial": initial}
    with pytest.raises(DataError, match=r"1 of the \d+ samples"):
        create_run(experiment(data=data))
    survived(19)
