"""Learners that train side by side do not take each other's cores."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml

from ..conftest import Cli
from ..shared.runs import BASE

MODEL = """
import torch

class Large(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(2, 50_000), torch.nn.Linear(50_000, 1))

    def forward(self, x):
        if self.training:
            with open("threads", "a") as file:
                file.write(f"{torch.get_num_threads()}\\n")
        return super().forward(x)
"""


@pytest.mark.parametrize("where", ["processes", "threads"])
def test_each_trains_with_its_share(where: str, cli: Cli, write: Any) -> None:
    cores = len(os.sched_getaffinity(0))
    write("large.py", MODEL)
    content = {
        **BASE,
        "learner": "large:Large",
        "driver": {"max_active_learning_steps": 1},
        "learners": [{} for _ in range(cores)],
        "parallel": {"where": where},
    }
    write("several.yaml", yaml.safe_dump(content))
    done = cli("run", "several.yaml", "--json", QUERIST_ALLOWED_PACKAGES="large,examples")
    assert done.code == 0, done
    assert set((cli.cwd / "threads").read_text().split()) == {"1"}
