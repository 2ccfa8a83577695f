"""Every query strategy in a real run on digits, from the text of its YAML file to the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
COMMITTEE = """
learners: [{name: one}, {name: other, seed: 6}]
"""
PLAIN = ""
CASES: dict[str, str | tuple[str, ...]] = {
    "binary_minimum": LABELS,
    "committee_variance": (NUMBERS, COMMITTEE),
    "consensus_kl": COMMITTEE,
    "distance_to_boundary": PLAIN,
    "entropy": PLAIN,
    "label_cardinality": LABELS,
    "least_confidence": PLAIN,
    "margin": PLAIN,
    "random": PLAIN,
    "vote_entropy": COMMITTEE,
}
"""What a strategy needs of an experiment, and its options where it cannot do without.

The options stand under `strategies.query.options`.
"""
TESTED_ELSEWHERE = {"command", "callable"}
REGISTERED = sorted({found.name for found in components("query")} - TESTED_ELSEWHERE)


def content_of(name: str, root: Path) -> dict[str, Any]:
    """The experiment of a strategy, out of YAML text."""
    assert name in CASES, f"give the query strategy {name} a line in CASES"
    case = CASES[name]
    chosen = f"strategies: {{query: {{name: {name}, n: {N}}}}}"
    place = f"driver: {{root_log_dir: {root}}}"
    content: dict[str, Any] = {}
    own = (case,) if isinstance(case, str) else case
    for number, text in enumerate((BASE, chosen, *own, place)):
        file = root / f"part_{number}.yaml"
        file.write_text(text or "{}")
        content = merge(content, read_yaml(file))
    return content


@pytest.mark.parametrize("name", REGISTERED)
def test_a_run_with_every_strategy(tmp_path: Path, name: str) -> None:
    content = content_of(name, tmp_path)
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


def test_a_strategy_without_a_case_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="give the query strategy nobody a line in CASES"):
        content_of("nobody", tmp_path)
