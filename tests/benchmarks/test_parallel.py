"""The benchmark of parallel learners still runs; nothing is timed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "parallel.py"


def test_a_tiny_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "parallel.json"
    arguments = [
        "--iterations", "2", "--learners", "2", "--tasks", "10", "--where", "processes",
        "--repeats", "0", "--json", str(path),
    ]  # fmt: skip
    command = [sys.executable, str(BENCHMARK), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(path.read_bytes())
    assert [run["plan"]["tracking"] for run in report["runs"]] == [False, True]
    for run in report["runs"]:
        assert run["ideal"] == 2 * 2 * 0.01
        assert run["ideal"] < run["iterating"] < run["cost"]["wall"]
        assert 10 < run["cost"]["tree_pss_mb"] < run["cost"]["tree_peak_mb"]
    assert report["ratio"] is None
