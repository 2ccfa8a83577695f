from __future__ import annotations

import pytest
import torch
from torch import nn

from querist.errors import LearnerError
from querist.learners.stacked import StackedMembers
from querist.learners.stacked_embeddings import StackedEmbeddings
from querist.values import Task

FEATURES = torch.rand(7, 4, generator=torch.Generator().manual_seed(5))


def stacked(members: list[nn.Module]) -> StackedMembers:
    return StackedMembers(members, loss="cross_entropy", task=Task.CLASSIFICATION).eval()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3)).eval()


def test_they_are_the_members_own_side_by_side() -> None:
    members = [network() for _ in range(3)]
    found = StackedEmbeddings(stacked([*members]), FEATURES[:1])(FEATURES)
    expected = torch.cat([member[:-1](FEATURES) for member in members], dim=1)
    torch.testing.assert_close(found, expected)


def test_of_a_linear_model_they_are_the_features_for_each() -> None:
    found = StackedEmbeddings(stacked([nn.Linear(4, 3), nn.Linear(4, 3)]), FEATURES[:1])(FEATURES)
    torch.testing.assert_close(found, FEATURES.repeat(1, 2))


class Embeds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 2)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embed(x).cumsum(1)


def test_an_embedding_of_its_own_is_used() -> None:
    members = [Embeds(), Embeds()]
    found = StackedEmbeddings(stacked([*members]), FEATURES[:1])(FEATURES)
    torch.testing.assert_close(found, torch.cat([m.embed(FEATURES) for m in members], dim=1))


def test_members_that_end_in_something_else_have_none() -> None:
    other = [nn.Sequential(nn.Linear(4, 3), nn.Tanh()) for _ in range(2)]
    with pytest.raises(LearnerError, match="embeddings and laplace need a model"):
        StackedEmbeddings(stacked([*other]), FEATURES[:1])
