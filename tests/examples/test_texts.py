from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from examples.texts.sentences import TOPICS, sentences
from querist.config.load import read_yaml
from tests.shared.runs import component, drive, experiment, new_run  # noqa: F401

EXPERIMENT = Path(__file__).parents[2] / "examples" / "texts" / "experiment.yaml"


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the example's configuration names."""
    pytest.importorskip("transformers", reason="the extra `transformers` is not there")
    from examples.texts.prepare import prepare

    prepare(tmp_path / "texts")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "texts"


def test_sentences() -> None:
    found = sentences(500, seed=0)
    assert found == sentences(500, seed=0)
    assert found != sentences(500, seed=1)
    assert len({text for text, _ in found}) == 500
    counts = {topic: sum(t == topic for _, t in found) for topic in TOPICS}
    assert min(counts.values()) > 100


def test_it_is_prepared_the_same_each_time(prepared: Path, tmp_path: Path) -> None:
    from examples.texts.prepare import prepare

    prepare(tmp_path / "again")
    files = sorted(p.relative_to(prepared) for p in prepared.rglob("*") if p.is_file())
    assert len(files) >= 4
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (prepared / file).read_bytes()


def test_margin_sampling_learns_the_topics(
    prepared: Path,
    new_run: Any,  # noqa: F811
    drive: Any,  # noqa: F811
) -> None:
    content = read_yaml(EXPERIMENT)
    content["driver"]["max_active_learning_steps"] = 5
    keep = {key: content[key] for key in ("data", "learner", "training", "strategies", "driver")}
    run = new_run(**keep)
    drive.finish(run)
    accuracy = [values["accuracy"] for values in run.ledger.metrology().values()]
    assert len(accuracy) == 5
    assert accuracy[0] < 0.8
    assert accuracy[-1] > 0.85
