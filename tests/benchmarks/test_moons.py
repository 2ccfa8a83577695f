"""The benchmark's programs still run, and still take the same steps; nothing is timed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = str(ROOT / "benchmarks" / "moons.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARK, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def test_a_tiny_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "moons.json"
    done = run(
        "--only", "reference,bare,functions", "--iterations", "2", "--repeats", "1",
        "--json", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(path.read_bytes())
    assert list(report["runs"]) == ["reference", "bare", "functions"]
    for (program,) in report["runs"].values():
        assert program["steps"] == 30 * 4 + 30 * 4
        assert 0 <= program["f1"] <= 1
        assert 0 < program["to_first_iteration"] < program["cost"]["wall"]
        assert program["cost"]["cpu"] > 0
        assert program["cost"]["tree_peak_mb"] > 10
    assert report["machine"]["versions"]["torch"]
    assert report["bounds"] == []


def test_an_unknown_program_is_refused() -> None:
    done = run("--only", "reference,nothing")
    assert done.returncode == 2
    assert "not nothing" in done.stderr
