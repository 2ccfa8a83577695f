"""The flows that are served, and what people read about them in the Prefect UI."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `querist up` needs the names only
    from prefect import Flow

DESCRIPTIONS = {
    "active_learning": "Run an experiment; with the run_id of a run that exists, go on with it.",
    "parallel_learners": "Run several learners side by side; with the run_id of a parallel run "
    "that exists, go on with what did not finish.",
    "comparison": "Run variants of an experiment over several seeds and compare their curves.",
    "label_collection": "Ask for labels: go some iterations on with a run, which is made unless "
    "it is there.",
    "retraining": "Learn what was labeled since the last time, and promote the new version of the "
    "model if it is better than its champion.",
    "model_comparison": "Compare a version of a registered model with its champion, and promote it "
    "where that is wanted.",
}
"""What is served, each flow under its own name as well."""
TAG = "querist"


def served_flow(name: str) -> Flow[..., Any]:
    """A flow of `DESCRIPTIONS`."""
    found: Flow[..., Any] = getattr(import_module(f"querist.flows.{name}"), name)
    return found
