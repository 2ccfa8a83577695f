"""Times the two-moons experiment against the loops that it competes with: `make bench`.

Each program runs as a process of its own, from cold, with one thread, in turn with the others, so
that noise hits all alike. The exit code is 1 when a must is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from moons_job import read_job
from processes import Cost, measure
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
HERE = Path("benchmarks")
EXPERIMENT = Path("examples/two_moons/experiment.yaml")
ITERATIONS = 70
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PACKAGES = ("querist", "prefect", "mlflow", "torch", "scikit-learn", "numpy", "SQLAlchemy")
PROGRAMS = {
    "reference": "reference loop (DataLoader)",
    "bare": "bare loop (tensors)",
    "functions": "Querist's functions",
    "tracking": "Querist's functions + MLflow",
    "fresh": "querist run, fresh Prefect home",
    "job": "querist run",
}
NOISE = 0.15
"""A share of one core that others may take before the figures are called noisy."""
MUST_RATIO, TARGET_RATIO = 1.3, 1.0
MUST_ORCHESTRATION, TARGET_ORCHESTRATION = 0.25, 0.20

out = Console(highlight=False, width=None if sys.stdout.isatty() else 150)


@dataclass(frozen=True)
class Measured:
    """One program, run once.

    Attributes:
        cost: what it cost.
        steps: optimizer steps.
        f1: F1 of the rarer class after the last iteration.
        to_first_iteration: seconds from its start to the first iteration.
        report: what else the program tells.
    """

    cost: Cost
    steps: int
    f1: float
    to_first_iteration: float
    report: Mapping[str, Any]


def run_program(name: str, iterations: int, folder: Path, prepared_home: Path) -> Measured:
    """Run one program in `folder`, which is empty."""
    if name in ("fresh", "job"):
        if name == "job":
            shutil.copytree(prepared_home, folder / "prefect")
        return run_job(iterations, folder)
    file = "moons_loops.py" if name in ("reference", "bare") else "moons_functions.py"
    arguments = [name] if name in ("reference", "bare") else [str(folder / "runs")]
    if name == "tracking":
        arguments.append("--tracking")
    command = [sys.executable, str(HERE / file), *arguments, "--iterations", str(iterations)]
    # The command finds the working directory by itself, these programs do not.
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
    cost = measure(command, env=environment() | {"PYTHONPATH": path}, cwd=ROOT)
    return measured(cost, json.loads(cost.output.splitlines()[-1]))


def run_job(iterations: int, folder: Path) -> Measured:
    """`querist run`, as its users run it."""
    command = [
        str(Path(sys.executable).with_name("querist")), "run", str(EXPERIMENT),
        "--set", f"driver.root_log_dir={folder / 'runs'}",
        "--set", f"driver.max_active_learning_steps={iterations}",
    ]  # fmt: skip
    home = folder / "prefect"
    cost = measure(command, env=environment() | {"PREFECT_HOME": str(home)}, cwd=ROOT)
    return measured(cost, read_job(folder / "runs", home, started=cost.started, ended=cost.ended))


def environment() -> dict[str, str]:
    """Ours, with one thread each and nothing that points to servers or homes in use."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    return kept | dict.fromkeys(THREADS, "1")


def measured(cost: Cost, report: dict[str, Any]) -> Measured:
    first = report.pop("first_iteration") - cost.started
    return Measured(cost, report.pop("steps"), report.pop("f1"), first, report)


def expected_steps(iterations: int) -> int:
    """30 epochs an iteration, batches of 16, the last one kept; 52,770 in 70 iterations."""
    return sum(30 * ceil((50 + 10 * i) / 16) for i in range(iterations))


# What the runs say together ----------------------------------------------------------------------

Runs = dict[str, list[Measured]]


def middle(runs: list[Measured], of: Callable[[Measured], float]) -> float:
    return median(of(run) for run in runs)


def wall(run: Measured) -> float:
    return run.cost.wall


def first(run: Measured) -> float:
    return run.to_first_iteration


def derive(runs: Runs, iterations: int) -> dict[str, float]:
    """Differences of medians, in seconds per iteration unless the name says otherwise."""
    derived: dict[str, float] = {}
    if {"functions", "tracking"} <= runs.keys():
        plain, tracked = runs["functions"], runs["tracking"]
        derived["tracking: wall"] = (middle(tracked, wall) - middle(plain, wall)) / iterations
        derived["tracking: CPU"] = (
            middle(tracked, lambda r: r.cost.cpu) - middle(plain, lambda r: r.cost.cpu)
        ) / iterations
    for job in ("job", "fresh"):
        if not {"tracking", job} <= runs.keys():
            continue
        tracked, ours = runs["tracking"], runs[job]
        at = "" if job == "job" else ", fresh home"
        all_of_it = (middle(ours, wall) - middle(tracked, wall)) / iterations
        start_up = (middle(ours, first) - middle(tracked, first)) / iterations
        derived |= {
            f"orchestration{at}: wall": all_of_it,
            f"orchestration{at}: its start-up": start_up,
            f"orchestration{at}: its iterations and end": all_of_it - start_up,
            f"orchestration{at}: CPU": (
                middle(ours, lambda r: r.cost.cpu) - middle(tracked, lambda r: r.cost.cpu)
            ) / iterations,
            f"orchestration{at}: between phases, with commit": middle(
                ours, lambda r: r.report["between"]["mean"]
            ),
            "commit, called as a function": middle(tracked, lambda r: r.report["commit"])
            / iterations,
        }  # fmt: skip
    return derived


@dataclass(frozen=True)
class Bound:
    """What must hold, and what is wanted."""

    what: str
    value: float
    must: float
    target: float


def bounds(runs: Runs, derived: Mapping[str, float]) -> list[Bound]:
    """Those that these runs can tell."""
    found = []
    if {"reference", "job"} <= runs.keys():
        ratio = middle(runs["job"], wall) / middle(runs["reference"], wall)
        found.append(Bound("querist run / reference loop", ratio, MUST_RATIO, TARGET_RATIO))
    # Training runs while Prefect writes: time between phases alone would hide what that costs it.
    parts = [derived.get(f"orchestration: {k}") for k in ("wall", "between phases, with commit")]
    seconds = [part for part in parts if part is not None]
    if seconds:
        found.append(
            Bound("orchestration, s per iteration", max(seconds), MUST_ORCHESTRATION,
                  TARGET_ORCHESTRATION)
        )  # fmt: skip
    return found


# Printing ----------------------------------------------------------------------------------------


def spread(values: list[float], digits: int = 1) -> str:
    """Median and range."""
    low, high = min(values), max(values)
    text = f"{median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} [dim]{low:.{digits}f}..{high:.{digits}f}[/dim]"


def show_programs(runs: Runs) -> None:
    table = Table("program", title="Two moons: median min..max", title_justify="left")
    columns = (
        "wall s", "x ref.", "CPU s", "x ref.", "to iter. 0, s", "MB", "MB, tree", "steps", "F1",
        "others' CPU s",
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right")
    reference = runs.get("reference")
    for name, of in runs.items():
        costs = [run.cost for run in of]
        walls, cpus = [c.wall for c in costs], [c.cpu for c in costs]
        wall_ratio = cpu_ratio = ""
        if reference:
            wall_ratio = f"{median(walls) / middle(reference, wall):.2f}"
            cpu_ratio = f"{median(cpus) / middle(reference, lambda r: r.cost.cpu):.2f}"
        table.add_row(
            PROGRAMS[name], spread(walls), wall_ratio, spread(cpus), cpu_ratio,
            spread([first(r) for r in of]), spread([c.peak_mb for c in costs], 0),
            spread([c.tree_peak_mb for c in costs], 0), f"{of[0].steps:,}",
            f"{middle(of, lambda r: r.f1):.3f}", spread([c.others_cpu for c in costs]),
        )  # fmt: skip
    out.print(table)


def show_derived(derived: Mapping[str, float]) -> None:
    if not derived:
        return
    table = Table("per iteration", "ms", title="Differences of medians", title_justify="left")
    for what, seconds in derived.items():
        table.add_row(what, f"{1000 * seconds:.1f}")
    out.print(table)


def show_stages(runs: Runs) -> None:
    """Where the time of `querist run` goes."""
    jobs = {name: runs[name] for name in ("job", "fresh") if name in runs}
    if not jobs:
        return
    table = Table("stage", *(f"{PROGRAMS[name]}, s" for name in jobs),
                  title="Where the time of querist run goes", title_justify="left")  # fmt: skip
    for stage in next(iter(jobs.values()))[0].report["stages"]:
        table.add_row(
            stage, *(spread([r.report["stages"][stage] for r in of], 2) for of in jobs.values())
        )
    out.print(table)


def show_bounds(found: list[Bound]) -> list[str]:
    """Print how each bound stands; returns the musts that are missed."""
    missed = []
    for bound in found:
        must, target = bound.value <= bound.must, bound.value <= bound.target
        out.print(
            f"{bound.what}: {bound.value:.3f}; must {bound.must:g} "
            f"{'[green]holds[/green]' if must else '[red]is missed[/red]'}, target "
            f"{bound.target:g} {'is reached' if target else 'is not reached'}"
        )
        if not must:
            missed.append(bound.what)
    return missed


def show_noise(runs: Runs) -> None:
    """Say which repeats had company."""
    noisy = [
        f"{PROGRAMS[name]} {repeat} ({run.cost.others_cpu / run.cost.wall:.1f})"
        for name, of in runs.items()
        for repeat, run in enumerate(of, 1)
        if run.cost.others_cpu > NOISE * run.cost.wall
    ]
    if noisy:
        out.print(
            f"[yellow]noisy:[/yellow] others kept cores busy during {', '.join(noisy)}; "
            "measure again on an idle machine"
        )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "?"),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def main() -> int:
    """The exit code: 0, or 1 when a must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help=f"comma-separated, of: {', '.join(PROGRAMS)}")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="fewer: a quick check")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(PROGRAMS)
    if unknown := set(chosen) - PROGRAMS.keys():
        parser.error(f"--only knows {', '.join(PROGRAMS)}: not {', '.join(sorted(unknown))}")

    date, load = time.strftime("%Y-%m-%dT%H:%M:%S%z"), os.getloadavg()
    here = machine()
    out.print(f"{here['cpu']}, {here['cores']} cores, load {load[0]:.2f}, {date}")
    runs = run_all(chosen, options.iterations, options.repeats)
    derived = derive(runs, options.iterations)
    whole = options.iterations == ITERATIONS
    found = bounds(runs, derived) if whole else []

    show_programs(runs)
    show_derived(derived)
    show_stages(runs)
    missed = show_bounds(found)
    show_noise(runs)
    if not whole:
        out.print(f"{options.iterations} iterations: what must hold is judged with {ITERATIONS}")
    if options.json is not None:
        report = {
            "date": date,
            "load": load,
            "machine": here,
            "iterations": options.iterations,
            "runs": {name: [asdict(run) for run in of] for name, of in runs.items()},
            "derived": derived,
            "bounds": [asdict(bound) for bound in found],
        }
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if missed else 0


def run_all(chosen: list[str], iterations: int, repeats: int) -> Runs:
    """Every program in turn, again and again."""
    runs: Runs = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory(prefix="querist-bench-") as scratch:
        prepared = Path(scratch) / "prepared"
        if "job" in chosen:
            out.print("making a Prefect home, not timed", style="dim")
            prepared.mkdir()
            run_job(1, prepared)
        for repeat in range(repeats):
            for name in chosen:
                folder = Path(scratch) / f"{name}-{repeat}"
                folder.mkdir()
                result = run_program(name, iterations, folder, prepared / "prefect")
                shutil.rmtree(folder)
                if result.steps != expected_steps(iterations):
                    raise AssertionError(
                        f"{name} took {result.steps} optimizer steps instead of "
                        f"{expected_steps(iterations)}: it cannot be compared"
                    )
                runs[name].append(result)
                out.print(
                    f"{repeat + 1}/{repeats} {PROGRAMS[name]}: {result.cost.wall:.1f} s",
                    style="dim",
                )
    return runs


if __name__ == "__main__":
    sys.exit(main())
