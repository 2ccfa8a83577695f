from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from querist.errors import CommandError, StrategyError
from querist.phases.query import check_selection
from querist.runs.append_data import ItemPool
from querist.strategies.query.command import QueryCommand
from querist.testing import QueryStrategyContract, query_context

READ = """
import json, os
import numpy as np
n = int(os.environ["QUERIST_N"])
c = np.load(os.environ["QUERIST_CANDIDATES"])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")
    TestContract.folder = tmp_path / "run" / "work"
    return TestContract.folder


def command(code: str) -> QueryCommand:
    made = QueryCommand(["python", "-c", code])
    made.work_in(TestContract.folder)
    return made


class TestContract(QueryStrategyContract):
    uses_predictions = False
    folder: Path

    def make(self) -> QueryCommand:
        order = "np.argsort(-c['features'][:, 0], kind='stable')"
        return command(f"{READ}print(c['indices'][{order}][:n].tolist())")

    def test_takes_randomness_from_the_context_only(self) -> None:
        # While the program runs, threads that Prefect has left behind may draw a number.
        for _ in range(4):
            with suppress(AssertionError):
                super().test_takes_randomness_from_the_context_only()
                return
        super().test_takes_randomness_from_the_context_only()


def test_seeds_come_from_the_run() -> None:
    code = f"{READ}print([int(c['indices'][int(os.environ['QUERIST_SEED']) % len(c['indices'])])])"
    found = [command(code).sample(query_context(seed=seed), 1) for seed in (1, 2, 1)]
    assert found[0] == found[2] != found[1]


def test_what_is_no_list_of_indices_is_refused() -> None:
    for said in ("5", "[1.5]", "[true]", '{"a": 1}'):
        with pytest.raises(StrategyError, match="a query command says a list of indices"):
            command(f"print('{said}')").sample(query_context(), 3)
    with pytest.raises(CommandError, match="neither a number nor JSON"):
        command("print('done')").sample(query_context(), 3)


def test_what_was_not_offered_is_refused_by_the_run() -> None:
    context = query_context()
    for said in ([4], [0, 0], [99], [0, 1, 2, 3]):
        with pytest.raises(StrategyError):
            check_selection("q", command(f"print({said})").sample(context, 3), context.unlabeled, 3)


@pytest.mark.parametrize(
    ("said", "samples"),
    [
        ('import json; print(json.dumps([[0.5, 1], "b", [0.5, 1]]))', [[0.5, 1], "b"]),
        ("print('{\"x\": 1}')", [{"x": 1}]),
        ("print(0.25)", [{"iteration": 1, "answer": 0.25}]),
        ("print('written to a file')", [{"iteration": 1}]),
        ("pass", [{"iteration": 1}]),
        ("print([])", []),
        ("print(list(range(9)))", [0, 1, 2]),
    ],
)
def test_new_samples_where_only_scripts_know_them(said: str, samples: list[Any]) -> None:
    context = query_context()
    pool: Any = ItemPool([])
    items = type(context)(**{**vars(context), "pool": pool, "unlabeled": context.unlabeled[:0]})
    selection = command(said).sample(items, 3)
    assert (selection.indices, selection.samples) == ((), samples)
    for sample in samples:
        pool.add(sample)
    assert list(command(said).sample(items, 3).samples or []) in ([], [3, 4, 5]), "no repeats"
