"""Every query strategy in a real run on digits, from the text of its YAML file to the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.config.load import build_experiment, merge, read_yaml
from querist.config.parallel import build_parallel
from querist.registry import components
from querist.runs import Run, close_run, create_run
from querist.runs.parallel import ParallelRun
from querist.values import Phase

from ..shared.runs import iterate

N = 10
ITERATIONS = 2
BASE = """
name: every strategy
seed: 5
data:
  pool: {name: examples.strategies.pools:digit_classes, options: {n: 400}}
  split: {test: 0.3, stratify: true}
  initial: {count: 30, stratify: true}
learner: {name: examples.digits.model:DigitClassifier, options: {hidden: 16}}
training:
  optimizer: {name: Adam, options: {lr: 0.01}}
  max_training_epochs: 5
  device: cpu
strategies:
  label: oracle
  metrology: accuracy
driver: {max_active_learning_steps: 2}
tracking: {enabled: false}
"""
SAMPLES = """
learner:
  name: mc_dropout
  options:
    samples: 5
    member: {name: examples.digits.model:DigitClassifier, options: {hidden: 16}}
"""
NUMBERS = """
data:
  pool: {name: examples.strategies.pools:digit_numbers, options: {n: 400}}
  split: {stratify: false}
  initial: {stratify: false}
learner:
  name: ensemble
  options:
    n: 3
    member: {name: examples.digits.model:DigitClassifier, options: {hidden: 16, classes: 1}}
strategies: {metrology: mse}
"""
LABELS = """
data:
  pool: {name: examples.strategies.pools:digit_labels, options: {n: 400}}
  split: {stratify: false}
  initial: {stratify: false}
learner: {name: examples.digits.model:DigitClassifier, options: {hidden: 16, classes: 3}}
training: {loss: multilabel}
strategies: {metrology: [f1_macro, hamming_loss]}
"""
LABELS_OF_MANY = """
learner:
  name: ensemble
  options:
    n: 3
    member: {name: examples.digits.model:DigitClassifier, options: {hidden: 16, classes: 3}}
"""
COMMITTEE = """
learners: [{name: one}, {name: other, seed: 6}]
"""
SMALL = "data: {pool: {options: {n: 150}}}"
NO_POOL = """
strategies:
  label: {name: callable, options: {function: examples.strategies.simulator:nearest_digit}}
"""
PLAIN = ""


def options(text: str) -> str:
    """Options of the query strategy, in YAML."""
    return f"strategies: {{query: {{options: {text}}}}}"


CASES: dict[str, str | tuple[str, ...]] = {
    "badge": PLAIN,
    "bait": options("{candidates: 40, dimensions: 4}"),
    "bald": SAMPLES,
    "batch_bald": (SAMPLES, options("{candidates: 100}")),
    "binary_minimum": LABELS,
    "class_balanced": options("{strategy: entropy}"),
    "clue": PLAIN,
    "cluster_margin": PLAIN,
    "committee_variance": (NUMBERS, COMMITTEE),
    "consensus_kl": COMMITTEE,
    "cost_aware": options("{strategy: margin, class_costs: [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]}"),
    "cover_then_cluster": PLAIN,
    "dbal": PLAIN,
    "density_weighted": PLAIN,
    "disagreement": COMMITTEE,
    "discriminative": options("{sub_batches: 2, hidden: 8, steps: 10}"),
    "distance_to_boundary": PLAIN,
    "entropy": PLAIN,
    "epig": SAMPLES,
    "falcun": PLAIN,
    "expected_error_reduction": SMALL,
    "expected_gradient_length": PLAIN,
    "galaxy": PLAIN,
    "generated": (options("{low: 0.0, high: 1.0, starts: 32, steps: 5}"), NO_POOL),
    "greedy_both": NUMBERS,
    "greedy_input": NUMBERS,
    "greedy_output": NUMBERS,
    "k_center": PLAIN,
    "k_means": PLAIN,
    "k_means_plus_plus": PLAIN,
    "k_medoids": PLAIN,
    "label_cardinality": LABELS,
    "lcmd": PLAIN,
    "least_confidence": PLAIN,
    "margin": PLAIN,
    "max_herding": PLAIN,
    "mean_std": SAMPLES,
    "mixture": options("{parts: [{name: margin, share: 0.8}, {name: random, share: 0.2}]}"),
    "neighbours_of_labeled": options("{strategy: margin, k: 20}"),
    "predictive_variance": NUMBERS,
    "prob_cover": PLAIN,
    "random": PLAIN,
    "sequence": options("{stages: [{name: margin, keep_times: 5}, {name: random}]}"),
    "subsample": options("{strategy: margin, size: 100}"),
    "switch": options("{stages: [{name: random, until_iteration: 1}, {name: margin}]}"),
    "typiclust": PLAIN,
    "uncertainty_herding": PLAIN,
    "variation_ratios": SAMPLES,
    "vote_entropy": COMMITTEE,
}
"""What a strategy needs of an experiment, and its options where it cannot do without.

"""
MORE = {
    "disagreement of one learner's models": ("disagreement", SAMPLES),
    "least_confidence, drawn by power": ("least_confidence", options("{batch: power}")),
    "entropy, drawn by softmax": ("entropy", options("{batch: softmax}")),
    "label_cardinality of an ensemble": ("label_cardinality", (LABELS, LABELS_OF_MANY)),
}
"""Other ways to use some of them."""
TESTED_ELSEWHERE = {"command", "callable"}
REGISTERED = sorted({found.name for found in components("query")} - TESTED_ELSEWHERE)


def content_of(name: str, case: str | tuple[str, ...], root: Path) -> dict[str, Any]:
    """The experiment of a strategy, out of YAML text."""
    chosen = f"strategies: {{query: {{name: {name}, n: {N}}}}}"
    place = f"driver: {{root_log_dir: {root}}}"
    content: dict[str, Any] = {}
    own = (case,) if isinstance(case, str) else case
    for number, text in enumerate((BASE, chosen, *own, place)):
        file = root / f"part_{number}.yaml"
        file.write_text(text or "{}")
        content = merge(content, read_yaml(file))
    return content


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Pools are small here, and on busy cores threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", REGISTERED)
def test_a_run_with_every_strategy(tmp_path: Path, name: str) -> None:
    assert name in CASES, f"give the query strategy {name} a line in CASES"
    run_to_the_end(content_of(name, CASES[name], tmp_path))


@pytest.mark.parametrize("title", MORE)
def test_other_ways(tmp_path: Path, title: str) -> None:
    name, case = MORE[title]
    run_to_the_end(content_of(name, case, tmp_path))


def run_to_the_end(content: dict[str, Any]) -> None:
    """All iterations, and what must be true of each."""
    if "learners" in content:
        run_side_by_side(content)
        return
    run = create_run(build_experiment(content))
    try:
        for iteration in range(ITERATIONS):
            decision = iterate(run, iteration)
        assert decision.reason == f"max iterations: {ITERATIONS}"
        check(run)
    finally:
        close_run(run.reference)


def run_side_by_side(content: dict[str, Any]) -> None:
    """Both learners of a parallel run, iteration by iteration, so that each hears the other."""
    parallel = ParallelRun(build_parallel(content, "every.yaml"), "several")
    runs = []
    try:
        for learner in parallel.experiment.learners:
            experiment = parallel.experiment.experiment(learner.name, "several")
            runs.append(create_run(experiment, parallel.run_of(learner.name).run_id))
        for iteration in range(ITERATIONS):
            for run in runs:
                iterate(run, iteration)
        for run in runs:
            check(run)
        voted = runs[1].ledger.phase_outcome(1, Phase.QUERY)
        assert voted is not None
        assert voted["committee"] == {"one": 1}
    finally:
        for run in runs:
            close_run(run.reference)
        parallel.close()


def check(run: Run) -> None:
    """Each iteration labeled as many samples as it should, and was measured."""
    initial = len(run.data.initial)
    seen = set(run.data.initial.tolist())
    for iteration in range(ITERATIONS):
        selected = run.ledger.selected(iteration).tolist()
        assert len(selected) == len(set(selected) - seen) == N
        seen |= set(selected)
        assert len(run.labeled(iteration)) == initial + N * iteration
        assert run.ledger.metrology()[iteration]
    assert len(run.data.labeled(run.ledger)) == len(seen) == initial + N * ITERATIONS
