"""A comparison through the command line, and going on with one."""

from __future__ import annotations

import json
from typing import Any

import yaml

from querist.config.load import apply_overrides, read_yaml

from ..conftest import MOONS, SMALL, Cli


def test_a_small_comparison_and_its_resumption(cli: Cli) -> None:
    changes = [*SMALL, "driver.max_active_learning_steps=3", "tracking.enabled=false"]
    content: dict[str, Any] = {
        "name": "small comparison",
        "base": apply_overrides(read_yaml(MOONS), changes),
        "seeds": [0, 1],
        "baseline": "random",
        "variants": {
            "uncertainty": {},
            "random": {"strategies": {"query": {"name": "random", "n": 10}}},
        },
    }
    file = cli.cwd / "comparison.yaml"
    file.write_text(yaml.safe_dump({"comparison": content}, sort_keys=False))

    done = cli("run", file, "--run-id", "both")
    assert done.code == 0, done
    assert "2 seeds, mean ± standard deviation" in done.out
    assert "uncertainty" in done.out
    folder = cli.root / "both"
    assert (folder / "comparison.png").stat().st_size > 5000
    result = json.loads((folder / "comparison.json").read_text())
    assert [v["name"] for v in result["variants"]] == ["uncertainty", "random"]
    curves = [curve for v in result["variants"] for curve in v["curves"]]
    assert [[n for n, _ in curve] for curve in curves] == [[50, 60, 70]] * 4
    of_seed = {v["name"]: v["curves"] for v in result["variants"]}
    assert of_seed["uncertainty"][0][0] == of_seed["random"][0][0]  # the same start for a seed

    runs = sorted(path.parent.name for path in cli.root.glob("*/experiment.yaml"))
    assert runs == [f"both-{v}-{s}" for v in ("random", "uncertainty") for s in (0, 1)]
    logs = {run: (cli.root / run / "driver_log.json").read_text() for run in runs}

    again = cli("run", file, "--run-id", "both", "--json")
    assert again.code == 0, again
    assert json.loads(again.out)["variants"] == result["variants"]
    assert {run: (cli.root / run / "driver_log.json").read_text() for run in runs} == logs


def test_a_metric_that_was_not_measured(cli: Cli) -> None:
    changes = [*SMALL, "driver.max_active_learning_steps=1", "tracking.enabled=false"]
    content = {
        "name": "c",
        "base": apply_overrides(read_yaml(MOONS), changes),
        "seeds": [0],
        "metric": "accuracy",
        "variants": {"as it is": {}},
    }
    (cli.cwd / "c.yaml").write_text(yaml.safe_dump({"comparison": content}))
    words = cli("run", "c.yaml").says_one_line(2)
    assert "'accuracy' was not measured: choose one of" in words
    assert "f1" in words
