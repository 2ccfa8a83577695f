from __future__ import annotations

from typing import Any

import pytest

from querist.config.load import build_experiment, merge
from querist.errors import ConfigurationError
from querist.runs.overrides import merge_overrides, nested, numbers_of
from tests.shared.runs import BASE

TWO = {"query": [{"name": "margin", "n": 5}, {"name": "random", "n": 3}]}


def plain(**changes: Any) -> dict[str, Any]:
    return build_experiment(merge(BASE, changes)).model_dump(mode="json")


def over(
    content: dict[str, Any], group: str, overrides: dict[str, Any], *, rounds: bool = False
) -> Any:
    merged = merge_overrides(content, nested(group, overrides), rounds=rounds)
    return build_experiment(merged)


def test_an_override_merges_into_the_base() -> None:
    content = plain(
        training={"optimizer": {"name": "SGD", "options": {"lr": 0.1, "momentum": 0.9}}}
    )
    training = over(content, "training", {"optimizer": {"options": {"lr": 0.5}}}).training
    assert training.optimizer.options == {"lr": 0.5, "momentum": 0.9}
    assert training.max_training_epochs == 2
    assert content["training"]["optimizer"]["options"]["lr"] == 0.1, "the base is not changed"


def test_a_component_that_is_named_anew_starts_with_options_of_its_own() -> None:
    content = plain(training={"optimizer": {"name": "SGD", "options": {"momentum": 0.9}}})
    assert (
        over(content, "training", {"optimizer": {"name": "Adam"}}).training.optimizer.options == {}
    )
    same = over(content, "training", {"optimizer": "SGD"}).training.optimizer
    assert same.options == {"lr": 0.1, "momentum": 0.9}


@pytest.mark.parametrize(
    ("group", "overrides"),
    [
        ("strategies.query", {"n": 7}),
        ("strategies.query", {"options": {"n": 7}}),
        ("strategies.query", {"margin": {"n": 7}}),
        ("strategies.query", {"0": {"n": 7}}),
        ("strategies", {"query": {"n": 7}}),
        ("strategies", {"query": [{"name": "margin", "n": 7}]}),
    ],
)
def test_the_only_entry_of_a_list_needs_no_address(group: str, overrides: dict[str, Any]) -> None:
    assert [q.n for q in over(plain(), group, overrides).strategies.query] == [7]


@pytest.mark.parametrize("address", ["random", "1"])
def test_an_entry_is_addressed_by_name_or_position(address: str) -> None:
    changed = over(plain(strategies=TWO), "strategies.query", {address: {"n": 7}})
    assert [q.n for q in changed.strategies.query] == [5, 7]


def test_an_entry_is_addressed_by_the_end_of_its_import_path() -> None:
    stop = [{"name": "examples.mine:Enough", "options": {"n": 1}}, "plateau"]
    changed = over(plain(stop=stop), "stop", {"Enough": {"options": {"n": 2}}})
    assert changed.stop[0].options == {"n": 2}


def test_an_entry_inside_of_options_is_addressed_alike() -> None:
    criteria = [{"name": "label_budget", "options": {"labels": 20}}, {"name": "plateau"}]
    stop = {"name": "any_of", "options": {"criteria": criteria}}
    inner = {"options": {"criteria": {"label_budget": {"options": {"labels": 30}}}}}
    changed = over(plain(stop=stop), "stop", inner)
    assert changed.stop[0].options["criteria"][0] == {  # type: ignore[index, call-overload]
        "name": "label_budget", "options": {"labels": 30},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"n": 7}, "does not say which entry is meant"),
        ({"entropy": {"n": 7}}, "has no entry 'entropy'.*0 = margin, 1 = random"),
        ({"2": {"n": 7}}, "has no entry '2'"),
        ({"-1": {"n": 7}}, "has no entry '-1'"),
    ],
)
def test_an_entry_that_is_not_there_is_refused(overrides: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        over(plain(strategies=TWO), "strategies.query", overrides)


def test_two_entries_of_one_name_are_addressed_by_position() -> None:
    twice = {"query": [{"name": "margin", "n": 5}, {"name": "margin", "n": 3}]}
    with pytest.raises(ConfigurationError, match="or its position where two have the same"):
        over(plain(strategies=twice), "strategies.query", {"margin": {"n": 7}})


def test_a_list_that_is_empty_has_no_entry() -> None:
    with pytest.raises(ConfigurationError, match="the entries are none"):
        over(plain(), "stop", {"options": {"labels": 3}})
    assert over(plain(), "stop", {}).stop == ()


def test_whole_numbers_stay_whole() -> None:
    stop = {"name": "label_budget", "options": {"labels": 20}}
    scheduler = {"name": "StepLR", "options": {"step_size": 3, "gamma": 1}}
    content = plain(
        stop=stop,
        training={"optimizer": {"name": "SGD", "options": {"lr": 1}}, "scheduler": scheduler},
    )
    for group, overrides, there, value in [
        ("training", {"batch_size": 8.6}, lambda e: e.training.batch_size, 9),
        ("training", {"max_fine_tuning_epochs": 2.4},
         lambda e: e.training.max_fine_tuning_epochs, 2),
        ("training", {"fine_tuning_lr": 0.4}, lambda e: e.training.fine_tuning_lr, 0.4),
        ("training", {"optimizer": {"options": {"lr": 0.4}}},
         lambda e: e.training.optimizer.options["lr"], 0.4),
        ("training", {"scheduler": {"options": {"gamma": 0.4}}},
         lambda e: e.training.scheduler.options["gamma"], 0.4),
        ("strategies", {"batch": 8.6}, lambda e: e.strategies.batch, 9),
        ("strategies", {"label_backoff_seconds": 0.4},
         lambda e: e.strategies.label_backoff_seconds, 0.4),
        ("strategies.query", {"n": 8.6}, lambda e: e.strategies.query[0].n, 9),
        ("strategies.query", {"options": {"n": 8.6}}, lambda e: e.strategies.query[0].n, 9),
        ("strategies.label", {"options": {"cost": 0.4}},
         lambda e: e.strategies.label.options["cost"], 0.4),
        ("stop", {"options": {"labels": 30.6}}, lambda e: e.stop[0].options["labels"], 31),
    ]:  # fmt: skip
        assert there(over(content, group, overrides, rounds=True)) == value, overrides


def test_only_what_a_function_gives_is_rounded() -> None:
    with pytest.raises(ConfigurationError, match=r"training.batch_size: .*8.6"):
        over(plain(), "training", {"batch_size": 8.6})


def test_numbers_are_found_where_they_were_put() -> None:
    content = plain(strategies=TWO, stop={"name": "label_budget", "options": {"labels": 20}})

    def numbers(group: str, overrides: dict[str, Any]) -> dict[str, float]:
        return dict(numbers_of(content, nested(group, overrides)))

    assert numbers("training", {"batch_size": 0, "optimizer": {"options": {"lr": 0}}}) == {
        "training.batch_size": 16, "training.optimizer.options.lr": 0.1,
    }  # fmt: skip
    assert numbers("training", {"warm_start": 0, "fine_tuning_lr": 0, "optimizer": "SGD"}) == {}
    assert numbers("strategies.query", {"random": {"options": {"n": 0}}}) == {
        "strategies.query.random.n": 3
    }
    assert numbers("strategies", {"query": {"1": {"n": 0}, "gone": {"n": 0}}}) == {
        "strategies.query.1.n": 3
    }
    assert numbers("stop", {"options": {"labels": 0}}) == {"stop.options.labels": 20}
