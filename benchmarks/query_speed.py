"""Speed of every query strategy: `python benchmarks/query_speed.py`.

Each strategy on pools of 10^4 to 10^6 candidates (1,000 labeled, 10 classes, 128 numbers in an
embedding, 20 models), in a process of its own, without the learner's predictions; beside what this
machine can do at most, measured in the same run, and beside other libraries, each in its own
environment. Then uncertainty over a pool of 10^7 in a file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from moons import machine
from query_inputs import Inputs
from query_limits import Limits, at_least
from rich.console import Console
from rich.table import Table

import querist.strategies  # noqa: F401
from querist.registry import components
from querist.views import View

HERE = Path(__file__).parent
SIZES = (10**4, 10**5, 10**6)
K = 1000
FEW = {"batch_bald": 10, "bait": 100, "typiclust": 100, "prob_cover": 100, "max_herding": 100,
       "k_medoids": 100, "expected_error_reduction": 10}  # fmt: skip
"""Strategies that are meant for smaller batches."""

FROM_FILE = ("least_confidence", "margin", "entropy")
MEMORY, SECONDS = 1.5e9, 30
THREADS: dict[str, str] = {}
"""What tells the processes how many threads to use."""

PEERS = ("modAL", "skactiveml", "baal", "small_text")
out = Console()


def job(*arguments: object, patience: float) -> dict[str, Any]:
    """The figures of a process, or why there are none."""
    command = [sys.executable, str(HERE / "query_job.py"), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, env=os.environ | THREADS
        )
    except subprocess.TimeoutExpired:
        return {"why": f"over {patience:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"why": lines[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def strategies(names: list[str], sizes: list[int], patience: float, limits: Limits) -> list[Any]:
    """Figures of each strategy at each size, until it takes too long."""
    rows = []
    for name in names:
        expected = 0.0
        for size in sizes:
            k = min(FEW.get(name, K), size)
            row: dict[str, Any] = {"strategy": name, "size": size, "k": k}
            if expected > patience:
                row["why"] = f"would take about {expected:.0f} s"
            else:
                row |= job("strategy", name, size, k, 2, patience=patience + 60)
                row["limit"] = at_least(name, size, k, limits)
                expected = 10 * row.get("seconds", patience)
            rows.append(row)
            out.print(f"[dim]{name} {size:,}: {row.get('seconds', row.get('why'))}")
    return rows


def peers(environments: list[Path], sizes: list[int], patience: float) -> list[Any]:
    """Figures of other libraries on the same arrays, each in an environment that has it."""
    rows = []
    for size in sizes:
        with TemporaryDirectory() as folder:
            inputs = Inputs(size)
            np.save(f"{folder}/probabilities.npy", inputs.probabilities[:size].numpy())
            np.save(f"{folder}/embeddings.npy", inputs.embeddings.numpy())
            if size <= 10**5:
                samples = inputs.of(View.PROBABILITY_SAMPLES)[:, :size].numpy()
                np.save(f"{folder}/samples.npy", samples)
            del inputs
            for environment in environments:
                command = [str(environment / "bin" / "python"), str(HERE / "query_peers.py"),
                           folder, str(min(K, size)), str(patience)]  # fmt: skip
                done = subprocess.run(
                    command, capture_output=True, text=True, env=os.environ | THREADS
                )
                for line in done.stdout.splitlines():
                    if line.startswith("{"):
                        rows.append({"size": size} | json.loads(line))
                if done.returncode:
                    out.print(f"[red]{environment}: {done.stderr.strip()[-300:]}")
    return rows


def from_file(size: int) -> list[Any]:
    """A pool of `(size, 16)` in a file, predicted by a linear model and chosen from."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/pool.npy"
        job("make", path, size, patience=600)
        return [
            {"strategy": name, "size": size} | job("mapped", name, path, K, patience=600)
            for name in FROM_FILE
        ]


def show(rows: list[Any], others: list[Any], sizes: list[int]) -> None:
    """The table: seconds, memory above the inputs, and the share of the limit."""
    table = Table(title=f"Seconds to choose k of n (+MB), limit / time; k = {K:,} unless said")
    table.add_column("strategy")
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    by_name: dict[str, dict[int, Any]] = {}
    for row in rows:
        by_name.setdefault(row["strategy"], {})[row["size"]] = row
    for name, found in by_name.items():
        few = f" (k = {FEW[name]})" if name in FEW else ""
        table.add_row(f"{name}{few}", *(_cell(found.get(size)) for size in sizes))
        for library in PEERS:
            theirs = {o["size"]: o for o in others
                      if o["library"] == library and o["strategy"] == name}  # fmt: skip
            if theirs:
                table.add_row(f"  {library}", *(_cell(theirs.get(size)) for size in sizes))
    out.print(table)


def _cell(row: Any) -> str:
    if row is None or "seconds" not in row:
        return "-"
    cell = f"{row['seconds']:.3g}"
    if row.get("bytes"):
        cell += f" (+{row['bytes'] / 1e6:.0f})"
    if row.get("limit"):
        cell += f" {row['limit'] / row['seconds']:.0%}"
    return cell


def main() -> int:
    """The exit code: 0, or 1 when what must hold does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="comma-separated names of strategies")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--patience", type=float, default=60, help="seconds a strategy may take")
    parser.add_argument("--peers", type=Path, action="append", default=[],
                        help="an environment with other libraries; may be repeated")  # fmt: skip
    parser.add_argument("--file-size", type=int, default=10**7, help="0: no pool in a file")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--threads", type=int, help="default: those that torch chooses; on a "
                        "busy machine 1 says more")  # fmt: skip
    options = parser.parse_args()
    if options.threads:
        THREADS["OMP_NUM_THREADS"] = THREADS["MKL_NUM_THREADS"] = str(options.threads)
    there = [c.name for c in components("query") if hasattr(c.factory, "about")]
    names = options.only.split(",") if options.only else there
    if unknown := set(names) - set(there):
        parser.error(f"--only knows {', '.join(there)}: not {', '.join(sorted(unknown))}")
    sizes = [int(float(size)) for size in options.sizes.split(",")]
    limits = Limits(**job("limits", patience=300))
    out.print(
        f"memory {limits.bytes / 1e9:.0f} GB/s, {limits.logarithms / 1e9:.1f} G logarithms/s, "
        f"products {limits.flops / 1e9:.0f} GFLOP/s in float32 and "
        f"{limits.bfloat16_flops / 1e9:.0f} in bfloat16"
    )
    rows = strategies(names, sizes, options.patience, limits)
    others = peers(options.peers, sizes, options.patience)
    show(rows, others, sizes)
    files = from_file(options.file_size) if options.file_size else []
    kept = True
    for row in files:
        good = row.get("seconds", 1e9) < SECONDS and row.get("bytes", 1e12) < MEMORY
        kept = kept and good
        seconds, held = row.get("seconds", 0), row.get("bytes", 0) / 1e9
        verdict = "" if good else row.get("why", "MISSED")
        out.print(
            f"{row['strategy']} over {row['size']:,} x 16 in a file: {seconds:.1f} s, "
            f"{held:.2f} GB {verdict}"
        )
    if options.json:
        figures = {
            "machine": machine(), "threads": options.threads, "limits": asdict(limits),
            "strategies": rows, "peers": others, "from a file": files,
        }  # fmt: skip
        options.json.write_text(json.dumps(figures, indent=1))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
