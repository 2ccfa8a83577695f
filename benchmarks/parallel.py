"""What learners side by side cost, and whether they get in each other's way: `make bench-parallel`.

Each parallel run is a `querist run` of its own. An iteration has two tasks that sleep, training and
a label; the ideal is that nothing but these takes time. Two learners that compute must take at most
1.15 times as long as one, on two cores with a thread each; the exit code is 1 when they take
longer. What two bare processes take says how much of that is the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import median

import torch
import yaml
from moons import environment, machine, out, spread
from parallel_tasks import compute
from processes import Cost, measure
from rich.table import Table

MUST = 1.15
SLEEPS = 2
"""Tasks of an iteration that sleep: training, and its one label."""
BUSY_SECONDS = 1.0
TASKS = Path(__file__).with_name("parallel_tasks.py")


@dataclass(frozen=True)
class Plan:
    """One parallel run: where, how many learners, how many iterations, and what they do."""

    where: str
    learners: int
    iterations: int
    sleep_ms: int = 0
    products: int = 0
    tracking: bool = False
    max_parallel: int | None = None

    @property
    def ideal(self) -> float:
        """Seconds, if nothing but the sleeping tasks took time."""
        turns = ceil(self.learners / (self.max_parallel or self.learners))
        return turns * self.iterations * SLEEPS * self.sleep_ms / 1000

    def experiment(self) -> dict[str, object]:
        return {
            "name": "side by side",
            "data": {"pool": "parallel_tasks:pool", "initial": {"count": 10}},
            "learner": {
                "name": "parallel_tasks:Model", "options": {"products": self.products},
            },
            "training": {
                "loss": "bce_with_logits",
                "batch_size": 1000,
                "max_training_epochs": 1,
                "max_fine_tuning_epochs": 1,
                "threads": 1,
            },
            "strategies": {
                "query": {"name": "random", "n": 1},
                "label": {
                    "name": "callable",
                    "options": {"function": "parallel_tasks:label", "repeatable": True},
                },
                "metrology": "f1",
            },
            "driver": {"max_active_learning_steps": self.iterations, "checkpoint_interval": 0},
            "tracking": {"enabled": self.tracking},
            "learners": [{"name": f"learner_{i}"} for i in range(self.learners)],
            "parallel": {"where": self.where, "max_parallel": self.max_parallel},
        }  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A parallel run that was done.

    Attributes:
        plan: what it was.
        cost: what the whole command cost.
        iterating: seconds from the first iteration's start to the last one's end.
        start_up: seconds from the command's start to the first iteration's.
    """

    plan: Plan
    cost: Cost
    iterating: float
    start_up: float

    @property
    def over(self) -> float:
        """Seconds over the ideal per iteration."""
        return (self.iterating - self.plan.ideal) / self.plan.iterations


def run(plan: Plan, folder: Path, prepared_home: Path | None) -> Measured:
    """Do a parallel run in `folder`, which is made for it and removed."""
    folder.mkdir()
    shutil.copy(TASKS, folder)
    (folder / "several.yaml").write_text(yaml.safe_dump(plan.experiment()))
    home = folder / "prefect"
    if prepared_home is not None:
        shutil.copytree(prepared_home, home)
    command = [
        sys.executable, "-c", "from querist.deployments.cli import main; main()",
        "run", "several.yaml", "--json", "--run-id", "p",
    ]  # fmt: skip
    env = environment() | {
        "PREFECT_HOME": str(home),
        "QUERIST_ALLOWED_PACKAGES": TASKS.stem,
        "TASK_SECONDS": str(plan.sleep_ms / 1000),
    }
    cost = measure(command, env=env, cwd=folder, pss=True)
    result = json.loads((folder / "active_learning_logs/p/result.json").read_bytes())
    done = [learner["iterations"] for learner in result["learners"]]
    if result["verdict"] != "succeeded" or done != [plan.iterations] * plan.learners:
        raise AssertionError(f"{plan} went otherwise: {result['reason']}")
    logs = [path.read_text() for path in folder.glob("active_learning_logs/p-*/driver_log.json")]
    times = [json.loads(line)["time"] for log in logs for line in log.splitlines()]
    if prepared_home is not None:
        shutil.rmtree(folder)
    return Measured(plan, cost, max(times) - min(times), min(times) - cost.started)


def bare(processes: int, products: int, iterations: int) -> float:
    """Seconds that so many processes compute side by side without Querist."""
    one = f"{sys.executable} {TASKS} {products} {iterations}"
    script = " & ".join([one] * processes) + " & wait"
    cost = measure(["sh", "-c", script], env=environment(), cwd=TASKS.parent)
    times = [float(word) for word in cost.output.split()]
    return max(times) - min(times)


def calibrated() -> int:
    """How many products take `BUSY_SECONDS` here."""
    torch.set_num_threads(1)
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        compute(50)
        seconds.append(time.perf_counter() - began)
    return round(BUSY_SECONDS * 50 / min(seconds))


def show(runs: Sequence[Measured]) -> None:
    title = (
        "Learners side by side, seconds; over the ideal: ms an iteration without the start-up, "
        "and the same for each learner"
    )
    table = Table("where", "tracked", title=title, title_justify="left")
    for column in (
        "learners", "task ms", "command", "start-up", "iterate", "ideal", "over ms", "each",
        "MB", "MB RSS", "CPU", "others",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for done in runs:
        plan, cost = done.plan, done.cost
        over = 1000 * done.over
        table.add_row(
            plan.where, "yes" if plan.tracking else "", str(plan.learners), str(plan.sleep_ms),
            f"{cost.wall:.1f}", f"{done.start_up:.1f}", f"{done.iterating:.2f}",
            f"{plan.ideal:.1f}", f"{over:.0f}", f"{over / plan.learners:.1f}",
            f"{cost.tree_pss_mb:.0f}", f"{cost.tree_peak_mb:.0f}", f"{cost.cpu:.1f}",
            f"{cost.others_cpu:.1f}",
        )  # fmt: skip
    out.print(table)


def compare(repeats: int, iterations: int, scratch: Path, home: Path) -> dict[str, list[float]]:
    """Seconds of one and of two learners that compute, and of bare processes, in turn."""
    products = calibrated()
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        for number in (1, 2):
            plan = Plan("processes", number, iterations, products=products)
            done = run(plan, scratch / "busy", home)
            found.setdefault(f"learners: {number}", []).append(done.iterating)
            alone = bare(number, products, iterations)
            found.setdefault(f"bare processes: {number}", []).append(alone)
    return found


def judge(seconds: dict[str, list[float]]) -> float:
    """Print what two take of one; returns it for learners."""
    ratios = {}
    for what in ("bare processes", "learners"):
        one, two = seconds[f"{what}: 1"], seconds[f"{what}: 2"]
        ratios[what] = median(two) / median(one)
        words = f"one {spread(one, 2)} s, two {spread(two, 2)} s: {ratios[what]:.3f} times"
        out.print(f"{what} that compute, with a thread each: {words}")
    held = ratios["learners"] <= MUST
    out.print(
        f"two learners take {ratios['learners']:.3f} times as long as one; must {MUST:g} "
        f"{'[green]holds[/green]' if held else '[red]is missed[/red]'}"
    )
    return ratios["learners"]


def main() -> int:
    """The exit code: 0, or 1 when the must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--learners", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 50, 500], metavar="MS")
    parser.add_argument("--where", nargs="+", default=["processes", "threads"])
    parser.add_argument("--max-parallel", type=int, help="learners at once (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="of computing; 0: nothing is judged")
    parser.add_argument("--quick", action="store_true", help="see that it works; nothing is judged")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    if options.quick:
        options.iterations, options.learners, options.tasks, options.repeats = 2, [1, 2], [50], 1
    date, load, here = time.strftime("%Y-%m-%dT%H:%M:%S%z"), os.getloadavg(), machine()
    out.print(f"{here['cpu']}, {here['cores']} cores, load {load[0]:.2f}, {date}")
    each = (options.iterations,)
    plans = [
        Plan(where, number, *each, sleep_ms=sleep_ms, max_parallel=options.max_parallel)
        for where in options.where
        for number in options.learners
        for sleep_ms in options.tasks
    ]
    plans.append(Plan(options.where[0], options.learners[-1], *each, options.tasks[-1], 0, True))
    runs: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="querist-bench-") as folder:
        scratch = Path(folder)
        out.print("making a Prefect home, not timed", style="dim")
        run(Plan("threads", 1, 1), scratch / "first", None)
        home = scratch / "first" / "prefect"
        for plan in plans:
            runs.append(run(plan, scratch / "run", home))
            out.print(
                f"{len(runs)}/{len(plans)} {plan.learners} learners in {plan.where}, "
                f"{plan.sleep_ms} ms: {runs[-1].cost.wall:.1f} s",
                style="dim",
            )
        seconds = compare(options.repeats, max(3, options.iterations // 2), scratch, home)
    show(runs)
    ratio = judge(seconds) if seconds else None
    if options.json is not None:
        report = {
            "date": date, "load": load, "machine": here,
            "runs": [
                {**asdict(r), "ideal": r.plan.ideal, "over_per_iteration": r.over} for r in runs
            ],
            "computing": seconds, "ratio": ratio, "must": MUST,
        }  # fmt: skip
        options.json.write_text(json.dumps(report, indent=1))
    return 0 if options.quick or ratio is None or ratio <= MUST else 1


if __name__ == "__main__":
    sys.exit(main())
