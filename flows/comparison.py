"""The same experiment in several variants over several seeds, side by side."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from prefect import flow
from prefect.artifacts import acreate_table_artifact

from querist.comparison import Curve, Saving, VariantResult, savings, summarize_variant
from querist.config.comparison import Comparison
from querist.config.driver import RunId
from querist.directions import Direction, direction_of
from querist.errors import ConfigurationError
from querist.figures import comparison as draw_comparison
from querist.flows.active_learning import active_learning
from querist.flows.served import comparison_as_served
from querist.phases.conclude import Summary
from querist.runs.records import read_metrology
from querist.storage.atomic import write_file


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison found.

    Attributes:
        comparison_id: its folder's name.
        folder: where the figure and the numbers are.
        metric: what was compared.
        baseline: the variant that the others are compared with.
        variants: every variant over all seeds.
        savings: labels saved against the baseline at equal values of the metric.
    """

    comparison_id: str
    folder: str
    metric: str
    baseline: str
    variants: tuple[VariantResult, ...]
    savings: tuple[Saving, ...]


@flow(
    name="comparison",
    description="Run variants of an experiment over several seeds and compare their curves.",
    flow_run_name="{comparison.name}",
    persist_result=False,
)
async def comparison(
    comparison: Comparison, comparison_id: RunId | None = None
) -> ComparisonResult:
    """Run every variant with every seed; with the id of a comparison that exists, go on with it.

    Args:
        comparison: what to compare.
        comparison_id: a name for its folder. Default: 8 random hex characters.
    """
    comparison = comparison_as_served(comparison)
    chosen = comparison_id or secrets.token_hex(4)
    comparison.check_id(chosen)
    root = comparison.base.driver.root_log_dir.absolute()
    curves: dict[str, list[Curve]] = {variant: [] for variant in comparison.variants}
    for seed in comparison.seeds:
        for variant in comparison.variants:
            experiment = comparison.experiment(variant, seed)
            run_id = comparison.run_id(chosen, variant, seed)
            summary = await active_learning(experiment, run_id)
            curves[variant].append(read_curve(summary, comparison.metric))
    result = compare(comparison, chosen, root / chosen, curves)
    await asyncio.to_thread(write_result, result)
    await acreate_table_artifact(
        table=[
            {
                "variant": v.name,
                f"{result.metric} at the end": f"{v.last:.3f} ± {v.last_spread:.3f}",
                f"mean {result.metric}": f"{v.average:.3f} ± {v.average_spread:.3f}",
            }
            for v in result.variants
        ],
        key=f"comparison-{''.join(c if c.isalnum() else '-' for c in chosen.lower())}",
        description=f"{comparison.name}, {len(comparison.seeds)} seeds",
    )
    return result


def read_curve(summary: Summary, metric: str) -> Curve:
    """The learning curve of a run.

    Raises:
        ConfigurationError: the run did not measure the metric.
    """
    records = read_metrology(Path(summary.folder))
    if not records or metric not in records[0]:
        known = ", ".join(k for k in (records[0] if records else {}) if k != "step")
        raise ConfigurationError(
            f"comparison.metric {metric!r} was not measured: choose one of {known or 'none'}"
        )
    return [(int(r["num_train_samples"]), float(r[metric])) for r in records]


def compare(
    comparison: Comparison, chosen: str, folder: Path, curves: dict[str, list[Curve]]
) -> ComparisonResult:
    """Means, spread and savings."""
    results = {name: summarize_variant(name, c) for name, c in curves.items()}
    baseline = comparison.baseline_name()
    higher = direction_of(comparison.metric) is Direction.MAX
    found = [
        saving
        for name, result in results.items()
        if name != baseline
        for saving in savings(result, results[baseline], higher=higher)
    ]
    return ComparisonResult(
        comparison_id=chosen,
        folder=str(folder),
        metric=comparison.metric,
        baseline=baseline,
        variants=tuple(results.values()),
        savings=tuple(found),
    )


def write_result(result: ComparisonResult) -> None:
    """The numbers as `comparison.json`, the curves as `comparison.png`."""
    folder = Path(result.folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "comparison.json", json.dumps(asdict(result), indent=1).encode())
    curves = {
        v.name: [([n for n, _ in c], [value for _, value in c]) for c in v.curves]
        for v in result.variants
    }
    draw_comparison(
        curves, folder / "comparison.png", result.metric, baseline=result.baseline,
        spread="deviation",
    )  # fmt: skip
