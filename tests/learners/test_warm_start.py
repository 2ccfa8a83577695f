from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from querist.config.training import TrainingConfig, WarmStart
from querist.errors import LearnerError
from querist.learners.warm_start import shrink_and_perturb
from querist.pools import LabeledSet, TensorPool

FEATURES = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
SET = LabeledSet(TensorPool(FEATURES), torch.arange(32), (FEATURES.sum(1) > 0).long())


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_weights_are_mixed_and_statistics_fresh() -> None:
    mine, fresh = model(), model()
    mine(FEATURES)
    before = [p.clone() for p in mine.parameters()]
    shrink_and_perturb(mine, fresh, shrink=0.5, perturb=0.25)
    for now, old, new in zip(mine.parameters(), before, fresh.parameters(), strict=True):
        assert torch.allclose(now, 0.5 * old + 0.25 * new)
    for now, new in zip(mine.buffers(), fresh.buffers(), strict=True):
        assert torch.equal(now, new)


@pytest.mark.parametrize(
    ("written", "mode"),
    [(True, "fine_tune"), (False, "scratch"), ("fine_tune", "fine_tune"), ("scratch", "scratch"),
     ({"mode": "shrink_and_perturb", "shrink": 0.3}, "shrink_and_perturb")],
)  # fmt: skip
def test_how_it_is_written(written: Any, mode: str) -> None:
    assert TrainingConfig(warm_start=written).warm_start.mode == mode


def test_factors_without_the_mode_are_refused() -> None:
    with pytest.raises(ValidationError, match="shrink has no effect with mode fine_tune: set mode"):
        WarmStart(shrink=0.3)
    again = TrainingConfig(warm_start="scratch").model_dump(mode="json")
    assert TrainingConfig(**again).warm_start.mode == "scratch", "defaults may be written down"


def made(job: Any, learner: Any, **settings: Any) -> Any:
    def remake(seed: int) -> nn.Module:
        torch.manual_seed(seed % 2**31)
        return model()

    found = learner(model)
    found._remake = remake
    found.fit(SET, job(max_training_epochs=5))
    found.fit(SET, job(iteration=1, max_training_epochs=1, **settings))
    return found


def test_shrink_and_perturb_begins_between_the_last_and_fresh_weights(
    job: Any, learner: Any
) -> None:
    def weights(**settings: Any) -> torch.Tensor:
        found = made(job, learner, optimizer={"name": "SGD", "options": {"lr": 1e-9}}, **settings)
        return torch.cat([p.detach().reshape(-1) for p in found.module.parameters()])

    tuned = weights()
    mode = {"mode": "shrink_and_perturb", "shrink": 0.5, "perturb": 0.0}
    assert torch.allclose(weights(warm_start=mode), 0.5 * tuned, atol=1e-5)
    mixed = weights(warm_start=mode | {"perturb": 1.0})
    assert not torch.allclose(mixed, 0.5 * tuned, atol=1e-2)
    assert torch.equal(mixed, weights(warm_start=mode | {"perturb": 1.0})), "seeded"


def test_a_model_that_cannot_be_made_anew(job: Any, learner: Any) -> None:
    found = learner(model)
    found.fit(SET, job())
    with pytest.raises(LearnerError, match="needs a model that can be made anew"):
        found.fit(SET, job(iteration=1, warm_start="shrink_and_perturb"))
