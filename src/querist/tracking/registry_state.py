"""The aliases of a registered model, as the ledger has them. Needs no import of mlflow.

States come from several spools, in any order, several at once, and again. MLflow has no
transactions, so this converges instead: each state is noted on the registered model first, under
its own sequence number; then whoever brings one makes the aliases as the newest note says, and
looks again, until a look finds everything in place. An old state that comes late, or a write that
was under way when a newer state came, is put right by the one who made it, or, if it died of it,
when its event is delivered again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from querist.tracking.mlflow_names import MAX_TAG_VALUE, text_for
from querist.tracking.registered import (
    LOST_TAG,
    VERSION_TAG,
    claim,
    find_versions,
    make_registered_model,
    set_tags,
    texts_of,
)

CHAMPION = "champion"
CHALLENGER = "challenger"
SEQUENCE_TAG = "querist.sequence"
STATE_TAG = "querist.state."
CORRECTED_TAG = "querist.corrected"
_MAX_LOOKS = 20

Aliases = Mapping[str, int | None]
"""Our versions by the aliases that point to them."""


@dataclass(frozen=True)
class RegistryState:
    """What the ledger says about a registered model at one time.

    Attributes:
        sequence: grows with every change of the ledger's.
        champion: the version that is it; None = no version.
        challenger: the version under test.
        tags: by version, why things are so.
        ledger: which ledger says so; None where there is only one.
    """

    sequence: int
    champion: int | None
    challenger: int | None
    tags: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    ledger: str | None = None


def put_state(client: Any, name: str, state: RegistryState) -> list[str]:
    """Make the aliases of a registered model as this state says, or a newer one that is there.

    Returns:
        What was not as we had left it, in words.

    Raises:
        LookupError: a version is not registered yet; call again later.
        UndeliverableError: MLflow takes no such name, or the model is another ledger's.
    """
    claim(client, make_registered_model(client, name), state.ledger)
    numbers = _Numbers(client, name)
    for version, tags in state.tags.items():
        _put_tags(client, numbers, version, tags, state.sequence)
    wanted = {CHAMPION: state.champion, CHALLENGER: state.challenger}
    for wanted_version in wanted.values():
        numbers.of(wanted_version)  # before anything is noted that could not be done
    problems: list[str] = []
    seen: dict[int, Aliases] = {state.sequence: wanted}
    model = client.get_registered_model(name)
    if state.sequence >= max([*_states(model), _sequence(model)]):
        _set_tag(client, model, f"{STATE_TAG}{state.sequence}", json.dumps(wanted))
    for _ in range(_MAX_LOOKS):
        model = client.get_registered_model(name)
        states = _states(model)
        if not states or _sequence(model) > max(states):  # somebody has removed our notes
            break
        seen |= states
        try:
            if not _approach(client, model, states, seen, numbers, problems):
                break
        except LookupError:
            raise
        except Exception:  # MLflow refuses one of two who write the same tag at once
            if not _has_changed(client, model):
                raise
    else:
        raise RuntimeError(f"others change {name!r} in MLflow all the time: it is tried again")
    return list(dict.fromkeys([*problems, *numbers.problems]))


class _Numbers:
    """MLflow's numbers of our versions.

    Attributes:
        problems: versions that will never be there.
    """

    def __init__(self, client: Any, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self._client = client
        self._found: dict[int, Any] = {}

    def of(self, version: int | None) -> Any:
        """MLflow's version; None for none, and for one that cannot be registered."""
        if version is None:
            return None
        if version not in self._found:
            found = find_versions(self._client, self.name, VERSION_TAG, str(version))
            if not found:
                self._check_lost(version)
            self._found[version] = found[0] if found else None
        return self._found[version]

    def _check_lost(self, version: int) -> None:
        reason = self._client.get_registered_model(self.name).tags.get(f"{LOST_TAG}{version}")
        if reason is None:
            raise LookupError(
                f"version {version} of {self.name!r} is not in MLflow yet: `querist sync` delivers "
                "what its folder holds"
            )
        self.problems.append(f"version {version} of {self.name!r} is not in MLflow: {reason}")


def _approach(
    client: Any,
    model: Any,
    states: Mapping[int, Aliases],
    seen: Mapping[int, Aliases],
    numbers: _Numbers,
    problems: list[str],
) -> bool:
    """One step towards the newest state; whether there was anything to do.

    Args:
        client: an `MlflowClient`.
        model: the registered model as it was just read.
        states: those that are noted on it.
        seen: all that were noted on it since we began, and our own.
        numbers: MLflow's numbers of our versions.
        problems: gets what was not as we had left it.
    """
    newest = max(states)
    moved = False
    for alias, version in states[newest].items():
        there, wanted = model.aliases.get(alias), numbers.of(version)
        if wanted is None and version is not None:  # cannot be registered: left as it is
            continue
        if wanted is None and (there is None or not _is_ours(client, model.name, there)):
            continue
        if wanted is not None and str(there) == str(wanted.version):
            continue
        if alias == CHAMPION and not _expected(there, seen.values(), numbers, _sequence(model)):
            said = _correction(model.name, there, version)
            client.set_registered_model_tag(
                model.name, CORRECTED_TAG, text_for(f"{said} (state {newest})", MAX_TAG_VALUE)
            )
            problems.append(said)
        if wanted is None:
            client.delete_registered_model_alias(model.name, alias)
        else:
            client.set_registered_model_alias(model.name, alias, wanted.version)
        moved = True
    if moved:
        return True
    # Last of all: whoever dies before this has the same to do again, and may.
    past = [sequence for sequence in states if sequence != newest]
    if _sequence(model) != newest:
        _set_tag(client, model, SEQUENCE_TAG, str(newest))
        return True
    for sequence in past:
        client.delete_registered_model_tag(model.name, f"{STATE_TAG}{sequence}")
    return bool(past)


def _has_changed(client: Any, model: Any) -> bool:
    """Whether somebody else has written since the model was read."""
    now = client.get_registered_model(model.name)
    return (now.tags, now.aliases) != (model.tags, model.aliases)


def _expected(there: Any, seen: Iterable[Aliases], numbers: _Numbers, settled: int) -> bool:
    """Whether the champion's alias is where one of our states has put it."""
    if there is None and not settled:
        return True
    for state in seen:
        try:
            ours = numbers.of(state[CHAMPION])
        except LookupError:
            continue
        if (None if ours is None else str(ours.version)) == (None if there is None else str(there)):
            return True
    return False


def _correction(name: str, there: Any, version: int | None) -> str:
    was = "was removed" if there is None else f"pointed to version {there} of MLflow"
    now = "it is removed" if version is None else f"it points to our version {version}"
    return f"the alias champion of {name!r} {was}, which the ledger had not said: {now}"


def _is_ours(client: Any, name: str, version: Any) -> bool:
    return VERSION_TAG in client.get_model_version(name, str(version)).tags


def _put_tags(
    client: Any, numbers: _Numbers, version: int, tags: Mapping[str, Any], sequence: int
) -> None:
    """Tag a version; what a newer state has said about it stays."""
    found = numbers.of(version)
    if found is None:
        return
    texts, said = texts_of(tags), _sequence(found)
    if said > sequence:
        texts = {key: text for key, text in texts.items() if key not in found.tags}
    set_tags(client, found, texts)
    if said < sequence:
        set_tags(client, found, {SEQUENCE_TAG: str(sequence)})


def _states(model: Any) -> dict[int, Aliases]:
    """The states that are noted on a registered model, by sequence number."""
    states: dict[int, Aliases] = {}
    for key, text in model.tags.items():
        if key.startswith(STATE_TAG):
            try:
                content = json.loads(text)
                state = {alias: content[alias] for alias in (CHAMPION, CHALLENGER)}
                states[int(key.removeprefix(STATE_TAG))] = state
            except (ValueError, TypeError, KeyError):  # a person has written there
                continue
    return states


def _sequence(about: Any) -> int:
    """The newest state that was put in place, on a model or a version; 0 = none."""
    text = about.tags.get(SEQUENCE_TAG, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def _set_tag(client: Any, model: Any, key: str, text: str) -> None:
    if model.tags.get(key) != text:
        client.set_registered_model_tag(model.name, key, text)
