"""The how-to's experiment with schedules does what the page says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from querist.config.load import build_experiment, load_experiment, merge
from querist.runs import Run, close_run, create_run
from querist.runs.schedules import scheduled
from tests.shared.runs import finish

from .blocks import REPOSITORY, blocks_of

PAGE = REPOSITORY / "docs" / "how-to.md"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    files = {block.marks.get("file"): block.text for block in blocks_of(PAGE)}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "noisy.py").write_text(files["mine/noisy.py"])
    (tmp_path / "scheduled.yaml").write_text(files["scheduled.yaml"])
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    content = load_experiment(tmp_path / "scheduled.yaml").model_dump(mode="json")
    here = {"driver": {"root_log_dir": str(tmp_path)}, "tracking": {"enabled": False}}
    made = create_run(build_experiment(merge(content, here)))
    yield made
    close_run(made.reference)


def test_the_schedules_of_the_page(run: Run) -> None:
    finish(run)
    commits = run.ledger.commit_rows()
    assert [row.labels for row in commits] == [100 + 50 * i for i in range(12)]
    settings: list[Any] = [json.loads(row.settings) for row in commits]
    noise = [s["strategies"]["label"]["options"]["noise"] for s in settings]
    assert noise == [0.1 * 0.95**i for i in range(12)]
    rates = [s["training"]["optimizer"]["options"]["lr"] for s in settings]
    assert rates == [0.01 * 0.9**i for i in range(12)]
    sizes = [s["training"]["batch_size"] for s in settings]
    assert sizes == [min(16 + 8 * i, 64) for i in range(12)]
    epochs = [outcome["epochs"] for _, phase, _, outcome in run.ledger.phase_rows()
              if phase.value == "train"]  # fmt: skip
    assert epochs == [20, 3, 3, 3, 3, 10, 3, 3, 3, 3, 15, 3]
    late = scheduled(run.experiment, run.strategies.schedules, 100_000, ())
    assert late.training.batch_size == 64
    assert late.training.optimizer.options["lr"] == 1e-6
    assert late.strategies.label is not None
    assert late.strategies.label.options["noise"] == 0.0
