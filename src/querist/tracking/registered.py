"""A model in the tracker's registry, as the one that an alias points to. Needs no import of mlflow.

Called again with the same arguments it changes nothing: the version is found again by its tag.
"""

from __future__ import annotations

from typing import Any

MODEL_TAG = "querist.model_id"


def point_alias_to(client: Any, model: Any, *, name: str, alias: str, run_id: str) -> str:
    """Register a logged model and let an alias point to its version; returns the version.

    Args:
        client: an `MlflowClient`.
        model: the logged model.
        name: the registered model, made unless it is there; without quotes, which no search takes.
        alias: such as `challenger`.
        run_id: the run that logged it.
    """
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = next(
        (
            found
            for found in client.search_model_versions(f"name = '{name}'")
            if found.tags.get(MODEL_TAG) == model.model_id
        ),
        None,
    )
    if version is None:
        version = client.create_model_version(
            name,
            # Not `models:/ID`: mlflow looks that up in the process's store, not the client's.
            source=model.artifact_location,
            run_id=run_id,
            tags={MODEL_TAG: model.model_id},
            model_id=model.model_id,
        )
    client.set_registered_model_alias(name, alias, version.version)
    return str(version.version)
