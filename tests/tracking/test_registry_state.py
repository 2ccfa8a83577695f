"""Aliases of a registered model as the ledger has them, in a real MLflow store."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from querist.tracking.registered import MODEL_TAG, note_lost, register_version
from querist.tracking.registry_state import (
    CORRECTED_TAG,
    SEQUENCE_TAG,
    STATE_TAG,
    RegistryState,
    put_state,
)

NAME = "digits of the week"


class Killed(BaseException):
    pass


class Fragile:
    """A client whose process is killed at its n-th call."""

    def __init__(self, client: Any, calls: int) -> None:
        self.client, self.left = client, calls

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return getattr(self.client, name)(*args, **more)

        return call


class Meanwhile:
    """A client beside which something happens, once, right before a call of it arrives."""

    def __init__(self, client: Any, method: str, happens: Callable[[], object]) -> None:
        self.client, self.method, self.happens = client, method, [happens]

    def __getattr__(self, name: str) -> Any:
        if name == self.method and self.happens:
            self.happens.pop()()
        return getattr(self.client, name)


@pytest.fixture
def experiment_id(client: MlflowClient, tmp_path: Path) -> str:
    return str(client.create_experiment("x", artifact_location=tmp_path.as_uri()))


def register(client: Any, experiment_id: str, version: int, name: str = NAME) -> str:
    run = client.create_run(experiment_id)
    model = client.create_logged_model(experiment_id, name="m", source_run_id=run.info.run_id)
    model = client.finalize_logged_model(model.model_id, "READY")
    return register_version(
        client, model, name=name, version=version, tags={"querist.parent": version - 1 or None},
        run_id=run.info.run_id, spool_id=f"spool{version}",
    )  # fmt: skip


def aliases(client: Any, name: str = NAME) -> dict[str, str]:
    """Where the aliases point, by our own numbers."""
    return {
        alias: client.get_model_version(name, str(version)).tags["querist.version"]
        for alias, version in client.get_registered_model(name).aliases.items()
    }


def state(
    sequence: int, champion: int | None, challenger: int | None = None, **tags: Any
) -> RegistryState:
    by_version = {int(key.removeprefix("v")): value for key, value in tags.items()}
    return RegistryState(sequence, champion, challenger, by_version)


def whole(client: Any) -> Any:
    """All that is there to compare."""
    model = client.get_registered_model(NAME)
    versions = client.search_model_versions(f"name = '{NAME}'")
    return (
        model.aliases, model.tags, model.description,
        sorted((v.version, tuple(sorted(v.tags.items()))) for v in versions),
    )  # fmt: skip


def test_aliases_are_as_the_ledger_says(client: MlflowClient, experiment_id: str) -> None:
    for version in (1, 2, 3):
        register(client, experiment_id, version)
    for sequence, champion, challenger in (
        (1, None, 1), (2, 1, None), (3, 1, 2), (4, 2, None), (5, 2, 3), (6, 2, None), (9, 1, None),
        (10, None, None),
    ):  # fmt: skip
        assert put_state(client, NAME, state(sequence, champion, challenger)) == []
        wanted = {"champion": champion, "challenger": challenger}
        assert aliases(client) == {k: str(v) for k, v in wanted.items() if v is not None}
        tags = client.get_registered_model(NAME).tags
        assert tags[SEQUENCE_TAG] == str(sequence)
        assert [key for key in tags if key.startswith(STATE_TAG)] == [f"{STATE_TAG}{sequence}"]
    assert CORRECTED_TAG not in client.get_registered_model(NAME).tags


def test_again_changes_nothing(client: MlflowClient, experiment_id: str) -> None:
    register(client, experiment_id, 1)
    register(client, experiment_id, 2)
    told = state(3, 1, 2, v2={"querist.verdict": "discarded: accuracy fell by 0.01"})
    assert put_state(client, NAME, told) == []
    before = whole(client)
    assert put_state(client, NAME, told) == []
    assert whole(client) == before


def test_in_any_order_the_newest_state_is_left(client: MlflowClient, experiment_id: str) -> None:
    for version in (1, 2, 3):
        register(client, experiment_id, version)
    states = [
        state(1, 1, v1={"why": "no champion yet"}),
        state(2, 1, v2={"why": "discarded", "first": "2"}),
        state(4, 3, None, v2={"why": "out of date"}, v3={"why": "promoted"}),
    ]
    for number, order in enumerate(itertools.permutations(states)):
        shifted = [
            RegistryState(s.sequence + 10 * number, s.champion, s.challenger, s.tags)
            for s in order
        ]
        for one in shifted:
            assert put_state(client, NAME, one) == []
        assert aliases(client) == {"champion": "3"}
        found = {v.tags["querist.version"]: v for v in client.search_model_versions("")}
        assert [found[v].tags["why"] for v in "123"] == [
            "no champion yet", "out of date", "promoted",
        ]  # fmt: skip
        assert found["2"].tags["first"] == "2"
        tags = client.get_registered_model(NAME).tags
        assert (tags[SEQUENCE_TAG], CORRECTED_TAG in tags) == (str(4 + 10 * number), False)


def test_killed_between_any_two_calls_and_done_again(
    client: MlflowClient, experiment_id: str
) -> None:
    for version in (1, 2, 3):
        register(client, experiment_id, version)
    put_state(client, NAME, state(1, 1, 2))
    sequence, old = 1, 1
    for calls in itertools.count():
        sequence, new = sequence + 2, 3 - old
        told = state(sequence, new, 3 if new == 1 else None, v3={"why": str(sequence)})
        assert aliases(client)["champion"] == str(old)
        try:
            put_state(Fragile(client, calls), NAME, told)
            done = True
        except Killed:
            done = False
        if calls % 3 == 0:  # first comes a late one of before, then a newer one, then it again
            assert put_state(client, NAME, state(sequence - 1, 3)) == []
        if calls % 3 == 1:
            assert put_state(client, NAME, state(sequence + 1, new)) == []
        assert put_state(client, NAME, told) == []
        if calls % 3 == 1:
            assert aliases(client) == {"champion": str(new)}
        else:
            wanted = {"champion": str(new), **({"challenger": "3"} if new == 1 else {})}
            assert aliases(client) == wanted
        assert CORRECTED_TAG not in client.get_registered_model(NAME).tags
        if done:
            break
        old = new
    assert calls > 10


def test_a_champion_that_was_moved_by_hand_is_put_back(
    client: MlflowClient, experiment_id: str
) -> None:
    for version in (1, 2):
        register(client, experiment_id, version)
    put_state(client, NAME, state(1, 1))
    client.set_registered_model_alias(NAME, "champion", "2")
    (problem,) = put_state(client, NAME, state(1, 1))
    assert problem == (
        f"the alias champion of {NAME!r} pointed to version 2 of MLflow, which the ledger had not "
        "said: it points to our version 1"
    )
    assert aliases(client) == {"champion": "1"}
    assert client.get_registered_model(NAME).tags[CORRECTED_TAG] == f"{problem} (state 1)"
    client.delete_registered_model_alias(NAME, "champion")
    (problem,) = put_state(client, NAME, state(2, 2))
    assert "was removed, which the ledger had not said: it points to our version 2" in problem
    client.set_registered_model_alias(NAME, "champion", "1")
    (problem,) = put_state(client, NAME, state(3, None))
    assert problem.endswith("pointed to version 1 of MLflow, which the ledger had not said: it is "
                            "removed")  # fmt: skip
    assert put_state(client, NAME, state(3, None)) == []
    assert aliases(client) == {}


def test_versions_of_others_shift_mlflows_numbers_and_are_left_alone(
    client: MlflowClient, experiment_id: str, tmp_path: Path
) -> None:
    client.create_registered_model(NAME, description="Mine.")
    client.create_model_version(NAME, tmp_path.as_uri(), tags={MODEL_TAG: "m-1"})
    client.set_registered_model_alias(NAME, "challenger", "1")
    assert register(client, experiment_id, 1) == "2"
    assert put_state(client, NAME, state(1, 1)) == []
    model = client.get_registered_model(NAME)
    assert {k: str(v) for k, v in model.aliases.items()} == {"challenger": "1", "champion": "2"}
    assert model.description == "Mine."
    put_state(client, NAME, state(2, 1, 1))
    assert aliases(client) == {"champion": "1", "challenger": "1"}


def test_a_version_that_is_not_there_yet_is_waited_for(
    client: MlflowClient, experiment_id: str
) -> None:
    register(client, experiment_id, 1)
    put_state(client, NAME, state(1, 1))
    before = whole(client)
    for late in (state(2, 2), state(2, 1, 2), state(2, 1, v2={"why": "x"})):
        with pytest.raises(LookupError, match=f"version 2 of '{NAME}' is not in MLflow yet"):
            put_state(client, NAME, late)
        assert whole(client) == before
    register(client, experiment_id, 2)
    assert put_state(client, NAME, state(2, 2)) == []
    assert aliases(client) == {"champion": "2"}


def test_a_version_that_will_never_be_there_is_not_waited_for(
    client: MlflowClient, experiment_id: str
) -> None:
    register(client, experiment_id, 1)
    put_state(client, NAME, state(1, 1))
    note_lost(client, name=NAME, version=2, reason="the run has logged no model 'm'")
    (problem,) = put_state(client, NAME, state(2, 2, v2={"why": "better"}))
    assert problem == (
        f"version 2 of {NAME!r} is not in MLflow: the run has logged no model 'm'"
    )
    assert aliases(client) == {"champion": "1"}
    assert put_state(client, NAME, state(3, 1)) == []
    register(client, experiment_id, 2)
    assert "querist.lost.2" not in client.get_registered_model(NAME).tags
    put_state(client, NAME, state(4, 2))
    assert aliases(client) == {"champion": "2"}


def test_notes_that_a_person_has_changed_or_removed(
    client: MlflowClient, experiment_id: str
) -> None:
    register(client, experiment_id, 1)
    register(client, experiment_id, 2)
    put_state(client, NAME, state(5, 1))
    client.set_registered_model_tag(NAME, f"{STATE_TAG}x", "y")
    client.set_registered_model_tag(NAME, f"{STATE_TAG}7", "[]")
    client.delete_registered_model_tag(NAME, f"{STATE_TAG}5")
    assert put_state(client, NAME, state(4, 2)) == []
    assert aliases(client) == {"champion": "1"}
    assert put_state(client, NAME, state(6, 2)) != []
    assert aliases(client) == {"champion": "2"}
    client.set_registered_model_tag(NAME, SEQUENCE_TAG, "many")
    assert put_state(client, NAME, state(6, 2)) == []
    assert client.get_registered_model(NAME).tags[SEQUENCE_TAG] == "6"


def test_several_deliverers_at_once(
    client: MlflowClient, experiment_id: str, uri: str
) -> None:
    for version in (1, 2, 3, 4):
        register(client, experiment_id, version)
    states = [state(n, 1 + n % 4, (1 + (n + 1) % 4) if n % 2 else None) for n in range(1, 13)]
    random.Random(0).shuffle(states)
    problems: list[str] = []

    def work(part: list[RegistryState]) -> None:
        mine = MlflowClient(uri)
        for one in part:
            problems.extend(put_state(mine, NAME, one))

    threads = [threading.Thread(target=work, args=(states[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert aliases(client) == {"champion": "1"}  # that of state 12
    tags = client.get_registered_model(NAME).tags
    assert tags[SEQUENCE_TAG] == "12"
    assert problems == []


@pytest.mark.parametrize(
    "method",
    [
        "get_registered_model",
        "set_registered_model_tag",
        "set_registered_model_alias",
        "set_model_version_tag",
    ],
)
def test_a_newer_state_that_comes_in_between_is_what_is_left(
    client: MlflowClient, experiment_id: str, method: str
) -> None:
    for version in (1, 2, 3):
        register(client, experiment_id, version)
    put_state(client, NAME, state(1, 1))
    newer = state(4, 2, 3, v2={"why": "promoted"})
    between = Meanwhile(client, method, lambda: put_state(client, NAME, newer))
    assert put_state(between, NAME, state(3, 3, 1, v3={"why": "rolled back"})) == []
    assert between.happens == []
    assert aliases(client) == {"champion": "2", "challenger": "3"}
    tags = client.get_registered_model(NAME).tags
    assert (tags[SEQUENCE_TAG], CORRECTED_TAG in tags) == ("4", False)
    assert [key for key in tags if key.startswith(STATE_TAG)] == [f"{STATE_TAG}4"]


def test_a_name_that_is_changed_without_end_is_tried_again_later(
    client: MlflowClient, experiment_id: str
) -> None:
    class Contrary(Meanwhile):
        def __getattr__(self, name: str) -> Any:
            if name == self.method:
                client.set_registered_model_alias(NAME, "champion", "2")
            return getattr(self.client, name)

    for version in (1, 2):
        register(client, experiment_id, version)
    contrary = Contrary(client, "get_registered_model", lambda: None)
    with pytest.raises(RuntimeError, match="in MLflow all the time: it is tried again"):
        put_state(contrary, NAME, state(1, 1))
    put_state(client, NAME, state(1, 1))
    assert aliases(client) == {"champion": "1"}
    assert "pointed to version 2" in client.get_registered_model(NAME).tags[CORRECTED_TAG]
