"""Other libraries on the same arrays, run by a Python that has them; imports nothing of Querist's.

`python query_peers.py FOLDER K PATIENCE` prints a line of JSON for each library and strategy that
is there. Each is asked as its documentation shows, with a model that returns the stored answers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Case = tuple[str, str, Callable[[], Any]]


class Stored:
    """A fitted scikit-learn model that predicts what is stored."""

    def __init__(self, probabilities: Any) -> None:
        self.probabilities = probabilities

    def predict_proba(self, _: Any) -> Any:
        return self.probabilities


def modal(probabilities: Any, k: int) -> Iterator[Case]:
    from modAL import uncertainty as u

    model, rows = Stored(probabilities), probabilities
    for name, query in (("margin", u.margin_sampling), ("entropy", u.entropy_sampling),
                        ("least_confidence", u.uncertainty_sampling)):  # fmt: skip
        yield "modAL", name, lambda query=query: query(model, rows, n_instances=k)


def baal(probabilities: Any, samples: Any, k: int) -> Iterator[Case]:
    from baal.active import heuristics as h

    for name, rank in (("margin", h.Margin()), ("entropy", h.Entropy())):
        yield "baal", name, lambda rank=rank: rank(probabilities)[:k]
    if samples is not None:
        last = np.ascontiguousarray(samples.transpose(1, 2, 0))
        yield "baal", "bald", lambda: h.BALD()(last)[:k]


def skactiveml(probabilities: Any, embeddings: Any, k: int) -> Iterator[Case]:
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import CoreSet, UncertaintySampling
    from skactiveml.utils import MISSING_LABEL

    n = len(probabilities)

    class Remembers(SkactivemlClassifier):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            self.classes_ = np.arange(probabilities.shape[1])
            return self

        def predict_proba(self, X: Any) -> Any:
            return probabilities

    model = Remembers(classes=list(range(probabilities.shape[1]))).fit(None, None)
    y = np.full(n, MISSING_LABEL)
    for name, method in (("margin", "margin_sampling"), ("entropy", "entropy"),
                         ("least_confidence", "least_confident")):  # fmt: skip
        chosen = UncertaintySampling(method=method, random_state=0)
        yield (
            "skactiveml", name,
            lambda chosen=chosen: chosen.query(
                probabilities, y, model, fit_clf=False, batch_size=k
            ),
        )  # fmt: skip
    known = np.concatenate([y, np.zeros(len(embeddings) - n)])
    yield (
        "skactiveml", "k_center",
        lambda: CoreSet(random_state=0).query(embeddings, known, batch_size=k),
    )  # fmt: skip


def small_text(probabilities: Any, k: int) -> Iterator[Case]:
    from small_text import BreakingTies, LeastConfidence, PredictionEntropy

    class Model:
        def predict_proba(self, _: Any) -> Any:
            return probabilities

    rows = np.zeros((len(probabilities), 1))
    unlabeled, none = np.arange(len(rows)), np.empty(0, dtype=int)
    for name, strategy in (("margin", BreakingTies()), ("entropy", PredictionEntropy()),
                           ("least_confidence", LeastConfidence())):  # fmt: skip
        yield (
            "small_text", name,
            lambda strategy=strategy: strategy.query(
                Model(), rows, unlabeled, none, np.empty(0), n=k
            ),
        )  # fmt: skip


def fastest(case: Callable[[], Any], patience: float) -> float:
    found: list[float] = []
    while not found or (len(found) < 5 and sum(found) < min(2.0, patience)):
        started = time.perf_counter()
        case()
        found.append(time.perf_counter() - started)
    return min(found)


def main() -> None:
    folder, k, patience = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    probabilities = np.load(folder / "probabilities.npy", allow_pickle=False)
    embeddings = np.load(folder / "embeddings.npy", allow_pickle=False)
    stored = folder / "samples.npy"
    samples = np.load(stored, allow_pickle=False) if stored.exists() else None
    for library in (
        lambda: modal(probabilities, k),
        lambda: baal(probabilities, samples, k),
        lambda: skactiveml(probabilities, embeddings, k),
        lambda: small_text(probabilities, k),
    ):
        try:
            cases = list(library())
        except ImportError:
            continue
        for name, strategy, case in cases:
            found: dict[str, Any] = {"library": name, "strategy": strategy}
            try:
                found["seconds"] = fastest(case, patience)
            except Exception as error:  # whatever a library raises is a dash in the table
                found["why"] = f"{type(error).__name__}: {error}"[:200]
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
