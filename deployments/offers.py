"""Files as deployments: which flow runs a file, under which name, with which parameters.

A file is recognised by its content, as `querist run` and `querist retrain` do. Its settings become
the parameters of the deployment, so that the form in the Prefect UI comes filled. Only what the
file sets is among them: what it leaves open stays open (a retraining takes it from the base
version).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from pydantic import BaseModel

from querist.config.comparison import build_comparison
from querist.config.load import build_experiment, read_yaml
from querist.config.parallel import build_parallel, is_parallel
from querist.config.retraining import Retraining, build_retraining, is_retraining
from querist.deployments.served_flows import DESCRIPTIONS, TAG
from querist.errors import ConfigurationError

_BANNED = re.compile(r"[/%&<>]")  # in the name of a deployment


@dataclass(frozen=True)
class Offer:
    """A deployment that is made of a file.

    Attributes:
        flow: the flow that runs it.
        name: of the model or the experiment.
        description: for people.
        settings: what the file says.
        parameters: the flow's, as JSON.
        tags: to find its flow runs by.
        concurrency: how many flow runs at once, and what becomes of the next one; None for any.
    """

    flow: str
    name: str
    description: str
    settings: BaseModel
    parameters: dict[str, Any]
    tags: tuple[str, ...] = (TAG,)
    concurrency: ConcurrencyLimitConfig | None = None

    @property
    def retraining(self) -> Retraining | None:
        """The settings of a retraining; None for another file."""
        return self.settings if isinstance(self.settings, Retraining) else None

    @property
    def full_name(self) -> str:
        """The deployment's name as Prefect writes it."""
        return f"{self.flow}/{self.name}"


def offers_of(files: Sequence[Path]) -> list[Offer]:
    """What the files offer.

    Raises:
        ConfigurationError: one that cannot be read, or two with one name.
    """
    offers: dict[str, tuple[Path, Offer]] = {}
    for file in files:
        offer = offer_of(file)
        if offer.name in DESCRIPTIONS:
            raise ConfigurationError(
                f"{file}: {offer.full_name} is the name of a flow, whose own deployment has it: "
                "choose another name"
            )
        if offer.full_name in offers:
            raise ConfigurationError(
                f"{file} and {offers[offer.full_name][0]} are both the deployment "
                f"{offer.full_name}: rename one"
            )
        offers[offer.full_name] = (file, offer)
    return [offer for _, offer in offers.values()]


def offer_of(file: Path) -> Offer:
    """What a file offers.

    Raises:
        ConfigurationError: what is wrong with it, in one line.
    """
    content = read_yaml(file)
    if is_retraining(content):
        return _of_retraining(build_retraining(content, file), file)
    if "comparison" in content:
        return _of_experiment("comparison", "comparison", build_comparison(content, file), file)
    if is_parallel(content):
        several = build_parallel(content, str(file))
        return _of_experiment("parallel_learners", "experiment", several, file, several.base.name)
    experiment = build_experiment(content, str(file))
    return _of_experiment("active_learning", "experiment", experiment, file, experiment.name)


def _of_retraining(settings: Retraining, file: Path) -> Offer:
    strategy = (
        ConcurrencyLimitStrategy.CANCEL_NEW
        if settings.busy == "skip"
        else ConcurrencyLimitStrategy.ENQUEUE
    )
    return Offer(
        flow="retraining",
        name=settings.model,
        description=_description(DESCRIPTIONS["retraining"], file),
        settings=settings,
        parameters={"settings": as_json(settings)},
        tags=(TAG, settings.model),
        concurrency=ConcurrencyLimitConfig(limit=1, collision_strategy=strategy),
    )


def _of_experiment(
    flow: str, parameter: str, settings: BaseModel, file: Path, name: str | None = None
) -> Offer:
    named: str = name or getattr(settings, "name")  # noqa: B009
    return Offer(
        flow=flow,
        name=_BANNED.sub("-", named),
        description=_description(DESCRIPTIONS[flow], file),
        settings=settings,
        parameters={parameter: as_json(settings)},
        tags=(TAG, named),
    )


def _description(of_flow: str, file: Path) -> str:
    return f"{of_flow}\n\nIts settings are those of `{file.name}`; a form changes them for one run."


def as_json(settings: BaseModel) -> dict[str, Any]:
    """Settings as JSON, without what was not set."""
    found: dict[str, Any] = settings.model_dump(mode="json", exclude_unset=True)
    return found


def label_run_of(offer: Offer) -> str | None:
    """The run whose labels a file retrains on; None when they come from elsewhere."""
    settings = offer.retraining
    if settings is None:
        return None
    if settings.collect is not None:
        return settings.collect.run_id
    source = settings.data.source
    run_id = source.options.get("run_id")
    return run_id if source.name == "labeled_run" and isinstance(run_id, str) else None


def without_collection(offer: Offer) -> dict[str, Any] | None:
    """The parameters of a retraining that asks for no labels first; None if it never does."""
    settings: dict[str, Any] = offer.parameters["settings"]
    if settings.get("collect") is None:
        return None
    return {**offer.parameters, "settings": {**settings, "collect": None}}
