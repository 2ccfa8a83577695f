"""The examples are what their pages say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from examples.two_moons.data import moons_pool, sample_moons
from examples.two_moons.model import MoonClassifier
from querist.config.comparison import build_comparison
from querist.config.load import load_experiment, read_yaml
from querist.config.parallel import build_parallel, is_parallel
from querist.runs.open import check_components

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "file", sorted(EXAMPLES.rglob("experiment.yaml")), ids=lambda f: f.parent.name
)
def test_every_experiment_is_valid(file: Path) -> None:
    content = read_yaml(file)
    if not is_parallel(content):
        check_components(load_experiment(file))
        return
    learners = build_parallel(content, str(file))
    for learner in learners.learners:
        check_components(learners.experiment(learner.name, "parent"))


def test_two_moons_is_the_main_job() -> None:
    experiment = load_experiment(EXAMPLES / "two_moons" / "experiment.yaml")
    assert experiment.driver.max_active_learning_steps == 70
    assert experiment.strategies.budget == 10
    assert experiment.training.batch_size == 16
    assert experiment.training.max_training_epochs == 30
    assert experiment.training.fine_tuning_epochs == 30
    assert experiment.training.optimizer.options == {"lr": 0.01}
    assert experiment.training.fine_tuning_lr == 0.005


def test_the_comparison_has_baseline_and_roofline() -> None:
    file = EXAMPLES / "two_moons" / "comparison.yaml"
    comparison = build_comparison(read_yaml(file), file)
    assert comparison.baseline_name() == "random"
    assert len(comparison.seeds) >= 5
    everything = comparison.experiment("all labels", 0)
    assert everything.driver.skip_labeling
    for variant in comparison.variants:
        check_components(comparison.experiment(variant, 3))


def test_two_moons() -> None:
    points, classes = sample_moons(1000, 0.3, 0.0)
    assert points.shape == (1000, 2)
    assert classes.bincount().tolist() == [700, 300]
    outer, inner = points[classes == 0], points[classes == 1]
    torch.testing.assert_close(outer.norm(dim=1), torch.ones(700))
    torch.testing.assert_close((inner - torch.tensor([1.0, 0.5])).norm(dim=1), torch.ones(300))
    noisy, _ = sample_moons(1000, 0.3, 0.25)
    assert (noisy - points).std() == pytest.approx(0.25, rel=0.1)


def test_the_pool_is_tested_on_another_draw() -> None:
    pool = moons_pool(n=200)
    test = pool.held_out["test"]
    everything = torch.arange(200)
    assert len(pool) == len(test) == 200
    assert not torch.equal(pool.features(everything), test.features(everything))


def test_the_model() -> None:
    model = MoonClassifier(hidden=16)
    assert sum(p.numel() for p in model.parameters()) == 2 * 16 + 16 + 16 + 1
    assert model(torch.zeros(5, 2)).shape == (5, 1)
