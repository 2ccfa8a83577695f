"""Events about versions and aliases of a registered model, read and carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from querist.tracking.registered import note_lost, register_version
from querist.tracking.registry_state import CHALLENGER, CHAMPION, RegistryState
from querist.tracking.spool import Event, UndeliverableError

if TYPE_CHECKING:
    from querist.tracking.mlflow_store import MlflowStore


def deliver_version(store: MlflowStore, run_id: str, event: Event, spool_id: str) -> None:
    """Register a model that the run has logged, as a version of ours.

    Raises:
        UndeliverableError: it can never be registered; where MLflow could, that is noted there.
    """
    model, name = text_in(event, "model"), text_in(event, "name")
    version, ledger = _number(event.payload.get("version"), "a version"), _ledger(event)
    tags = _mapping(event.payload.get("tags") or {}, "its tags")
    try:
        logged = store.logged_model(run_id, model)
    except UndeliverableError as error:
        note_lost(store.client, name=name, version=version, reason=str(error))
        raise
    register_version(
        store.client,
        logged,
        name=name,
        version=version,
        tags=tags,
        run_id=run_id,
        spool_id=spool_id,
        ledger=ledger,
    )


def state_of(event: Event) -> RegistryState:
    """The state that an event tells.

    Raises:
        UndeliverableError: it tells none.
    """
    payload = event.payload
    tags = {
        _number(int(version) if _is_digits(version) else version, "a version"): _mapping(
            of_version, "a version's tags"
        )
        for version, of_version in _mapping(payload.get("tags") or {}, "its tags").items()
    }
    champion, challenger = (
        None if payload.get(key) is None else _number(payload[key], f"a {key}")
        for key in (CHAMPION, CHALLENGER)
    )
    return RegistryState(
        sequence=_number(payload.get("sequence"), "a sequence"),
        champion=champion,
        challenger=challenger,
        tags=tags,
        ledger=_ledger(event),
    )


def text_in(event: Event, key: str) -> str:
    """The text of an event under `key`.

    Raises:
        UndeliverableError: there is none.
    """
    value = event.payload.get(key)
    if not isinstance(value, str) or not value:
        raise UndeliverableError(f"it has no {key}")
    return value


def _ledger(event: Event) -> str | None:
    return text_in(event, "ledger") if event.payload.get("ledger") is not None else None


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdecimal()


def _number(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UndeliverableError(f"{what} is an integer from 1 on, not {value!r:.80}")
    return value


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UndeliverableError(f"{what} are a mapping, not {value!r:.80}")
    return value
