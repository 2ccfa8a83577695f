"""Models in the tracker's registry: found again by tags. Needs no import of mlflow.

Called again with the same arguments nothing here changes anything. MLflow numbers versions in the
order they come, also those of others; which of ours one is says its tag `querist.version`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from querist.tracking.mlflow_names import MAX_TAG_VALUE, key_for, text_for
from querist.tracking.spool import UndeliverableError

MAX_NAME = 250
MODEL_TAG = "querist.model_id"
SPOOL_TAG = "querist.spool"
LEDGER_TAG = "querist.ledger"
VERSION_TAG = "querist.version"
LOST_TAG = "querist.lost."
"""With the number of a version that cannot be registered: why."""

DESCRIPTION = (
    "Versions come from Querist, whose ledger decides where the aliases `champion` and "
    "`challenger` point: moved by hand, they are put back. The tag `querist.version` is a "
    "version's number in the ledger."
)


def point_alias_to(client: Any, model: Any, *, name: str, alias: str, run_id: str) -> str:
    """Register a logged model and let an alias point to its version; returns the version.

    Args:
        client: an `MlflowClient`.
        model: the logged model.
        name: the registered model, made unless it is there.
        alias: such as `challenger`.
        run_id: the run that logged it.

    Raises:
        UndeliverableError: MLflow takes no such name.
    """
    make_registered_model(client, name)
    found = find_versions(client, name, MODEL_TAG, model.model_id)
    version = found[0] if found else _create(client, model, name=name, run_id=run_id, tags={})
    client.set_registered_model_alias(name, alias, version.version)
    return str(version.version)


def register_version(
    client: Any,
    model: Any,
    *,
    name: str,
    version: int,
    tags: Mapping[str, Any],
    run_id: str,
    spool_id: str,
    ledger: str | None = None,
) -> str:
    """Register a logged model as a version of ours; returns MLflow's number of it.

    Args:
        client: an `MlflowClient`.
        model: the logged model.
        name: the registered model, made unless it is there.
        version: the version's number in the ledger.
        tags: what else there is to say about it: its parent, what it was trained on, ...
        run_id: the run that logged it.
        spool_id: the spool that says so.
        ledger: the ledger that the version is in; None where there is only one.

    Raises:
        UndeliverableError: MLflow takes no such name, or another ledger has this version there.
    """
    about = make_registered_model(client, name)
    claim(client, about, ledger)
    if not about.description:
        client.update_registered_model(name, DESCRIPTION)
    texts = {**texts_of(tags), VERSION_TAG: str(version), SPOOL_TAG: spool_id}
    if ledger is not None:
        texts[LEDGER_TAG] = ledger
    known = find_versions(client, name, VERSION_TAG, str(version))
    for other in known:
        same_ledger = ledger is not None and other.tags.get(LEDGER_TAG) == ledger
        if other.tags.get(SPOOL_TAG) != spool_id and not same_ledger:
            raise UndeliverableError(
                f"version {version} of {name!r} is in MLflow already, from another folder: give "
                "the model another name"
            )
    known = known or find_versions(client, name, MODEL_TAG, model.model_id)
    if known:
        here = known[0]
        set_tags(client, here, texts)
        _remove_doubles(client, name, known[1:])
    else:
        here = _create(client, model, name=name, run_id=run_id, tags=texts)
    if f"{LOST_TAG}{version}" in about.tags:
        client.delete_registered_model_tag(name, f"{LOST_TAG}{version}")
    return str(here.version)


def claim(client: Any, model: Any, ledger: str | None) -> None:
    """Have a registered model belong to a ledger, for good.

    Raises:
        UndeliverableError: it belongs to another one.
    """
    if ledger is None:
        return
    owner = model.tags.get(LEDGER_TAG)
    if owner is None:
        client.set_registered_model_tag(model.name, LEDGER_TAG, ledger)
    elif owner != ledger:
        raise UndeliverableError(
            f"{model.name!r} in MLflow belongs to another ledger, {owner}: give the model another "
            "name, or another tracking URI"
        )


def note_lost(client: Any, *, name: str, version: int, reason: str) -> None:
    """Note that a version cannot be registered, so that nobody waits for it."""
    make_registered_model(client, name)
    client.set_registered_model_tag(
        name, f"{LOST_TAG}{version}", text_for(reason, MAX_TAG_VALUE)
    )


def make_registered_model(client: Any, name: str) -> Any:
    """The registered model of this name, made unless it is there.

    Raises:
        UndeliverableError: MLflow takes no such name, or no search for it.
    """
    plain = name.strip() and len(name) <= MAX_NAME and not set(name) & set("/:'\"`")
    if not plain or name == "." or name.startswith(".."):
        raise UndeliverableError(
            f"a registered model has a name of up to {MAX_NAME} characters without slashes, "
            f"colons and quotes, not {name!r:.80}"
        )
    found = client.search_registered_models(f"name = '{name}'")
    if found:
        return found[0]
    try:
        return client.create_registered_model(name, description=DESCRIPTION)
    except Exception:  # another deliverer may have been faster
        found = client.search_registered_models(f"name = '{name}'")
        if not found:
            raise
        return found[0]


def find_versions(client: Any, name: str, key: str, value: str) -> list[Any]:
    """The versions of a registered model that have this tag, the first one that was made first."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(
            f"name = '{name}' AND tags.`{key}` = '{value}'", page_token=token
        )
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def set_tags(client: Any, version: Any, texts: Mapping[str, str]) -> None:
    """Give a version the tags that it has not."""
    for key, text in texts.items():
        if version.tags.get(key) != text:
            client.set_model_version_tag(version.name, version.version, key, text)


def texts_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow takes them; None is no tag."""
    return {
        key_for(key): text_for(value, MAX_TAG_VALUE)
        for key, value in tags.items()
        if value is not None
    }


def _create(client: Any, model: Any, *, name: str, run_id: str, tags: Mapping[str, str]) -> Any:
    return client.create_model_version(
        name,
        # Not `models:/ID`: mlflow looks that up in the process's store, not the client's.
        source=model.artifact_location,
        run_id=run_id,
        tags={MODEL_TAG: model.model_id, **tags},
        model_id=model.model_id,
    )


def _remove_doubles(client: Any, name: str, doubles: list[Any]) -> None:
    """Remove what a server made a second time, after it was asked again for want of an answer."""
    if doubles:
        pointed_at = {str(v) for v in client.get_registered_model(name).aliases.values()}
        for double in doubles:
            if str(double.version) not in pointed_at:
                client.delete_model_version(name, double.version)
