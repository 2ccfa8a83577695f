from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from querist.config.experiment import Experiment
from querist.config.load import build_experiment
from querist.errors import ConfigurationError


def test_defaults_of_the_smallest_experiment(content: Any) -> None:
    experiment = build_experiment(content())
    assert experiment.seed == 0
    assert experiment.driver.checkpoint_interval == 1
    assert experiment.strategies.queue.name == "ledger"
    assert experiment.strategies.budget == 10
    assert experiment.training.fine_tuning_epochs == experiment.training.max_training_epochs
    assert experiment.gate is None
    assert experiment.stop == ()


def test_frozen(content: Any) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        build_experiment(content()).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "place", "suggestion"),
    [
        ({"sede": 3}, "sede", "seed"),
        ({"driver": {"chekpoint_interval": 3}}, "driver.chekpoint_interval", "checkpoint_interval"),
        ({"data": {"splt": {}}}, "data.splt", "split"),
        ({"data": {"initial": {"cuont": 3}}}, "data.initial.cuont", "count"),
        ({"training": {"optimizer": {"nmae": "SGD"}}}, "training.optimizer.nmae", "name"),
        ({"training": {"early_stopping": {"patiance": 3}}}, "patiance", "patience"),
        (
            {"strategies": {"query": [{"name": "margin", "optins": {}}]}},
            "strategies.query.0.optins",
            "options",
        ),
        ({"stop": [{"name": "plateau", "optoins": {}}]}, "stop.0.optoins", "options"),
        ({"gate": {"name": "metric_improvement", "opts": {}}}, "gate.opts", "options"),
        ({"tracking": {"url": "x"}}, "tracking.url", "uri"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(
    content: Any, changes: dict[str, Any], place: str, suggestion: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        build_experiment(content(**changes), "moons.yaml")
    message = str(error.value)
    assert message.startswith("moons.yaml: ")
    assert place in message
    assert "did you mean" in message or "known are" in message
    assert repr(suggestion) in message or suggestion in message
    assert "\n" not in message


RELATIONS = [
    ({"driver": {"skip_training": True}, "training": {"fine_tuning_lr": 0.1}},
     ["training.fine_tuning_lr", "driver.skip_training"]),
    ({"driver": {"skip_training": True}, "training": {"scheduler": {"name": "StepLR"}}},
     ["training.scheduler", "skip_training"]),
    ({"driver": {"skip_training": True}, "training": {"early_stopping": {}}},
     ["training.early_stopping", "skip_training"]),
    ({"driver": {"skip_training": True}, "training": {"checkpoint_epochs": 2}},
     ["training.checkpoint_epochs", "skip_training"]),
    ({"training": {"fine_tuning_lr": 0.1, "max_fine_tuning_epochs": 0}},
     ["fine_tuning_lr", "max_fine_tuning_epochs is 0"]),
    ({"strategies": {"label": None}}, ["strategies.label", "skip_labeling"]),
    ({"driver": {"skip_labeling": True}}, ["strategies.label", "skip_labeling", "remove"]),
    ({"strategies": {"metrology": []}}, ["strategies.metrology", "skip_metrology"]),
    ({"driver": {"skip_metrology": True}}, ["strategies.metrology", "skip_metrology"]),
    ({"driver": {"skip_metrology": True},
      "strategies": {"metrology": []}, "gate": {"name": "metric_improvement"}},
     ["gate", "skip_metrology"]),
    ({"training": {"early_stopping": {}, "loop": {"name": "mine"}}}, ["early_stopping", "'mine'"]),
    *[
        ({"training": {key: value, "loop": "mine"}}, [f"training.{key} belongs", "'mine'"])
        for key, value in {
            "static_capture": True, "compile": True, "mixed_precision": "bf16",
            "accumulate_batches": 2, "clip_grad_norm": 1.0, "last_batch": "drop",
            "loader": {"workers": 1}, "tf32": True,
            "scheduler": {"name": "StepLR", "options": {"step_size": 2}},
        }.items()
    ],
    ({"training": {"mixed_precision": "bf16", "dtype": "float64"}},
     ["mixed_precision bf16", "float32 weights", "float64"]),
    ({"training": {"mixed_precision": "fp16", "optimizer": "LBFGS"}}, ["LBFGS", "use bf16"]),
    ({"training": {"accumulate_batches": 2, "optimizer": "lbfgs"}}, ["LBFGS", "raise batch_size"]),
    ({"training": {"mixed_precision": "tf32"}}, ["mixed_precision", "bf16"]),
    ({"training": {"clip_grad_norm": 0}}, ["clip_grad_norm", "greater than 0"]),
    ({"training": {"static_capture": "maybe"}}, ["static_capture"]),
    ({"training": {"warm_start": "fine"}}, ["warm_start", "shrink_and_perturb"]),
    ({"training": {"distributed": {"nodes": 2}}}, ["2 nodes", "distributed.rendezvous"]),
    ({"training": {"distributed": {"rendezvous": "a:1"}}}, ["no effect with one node"]),
    ({"training": {"distributed": {"rendezvous": "a b"}}}, ["rendezvous"]),
    ({"training": {"distributed": {"nodes": 2, "rendezvous": "a:1", "launcher": "ray"}}},
     ["Ray places", "torchrun"]),
    ({"strategies": {"query": []}}, ["strategies.query", "at least 1"]),
    ({"strategies": {"query": ["margin", "random"]}}, ["each needs an n", "strategies.batch"]),
    ({"training": {"scheduler": {"options": {"step_size": 2}}}},
     ["training.scheduler", "options without a name"]),
    ({"training": {"optimizer": "Adma"}}, ["optimizer", "'Adam'"]),
    ({"training": {"optimizer": {"name": "SGD", "options": {"momentun": 0.9}}}},
     ["SGD", "'momentum'"]),
    ({"training": {"optimizer": {"name": "SGD", "options": {"lr": 0}}}}, ["lr", "above 0"]),
    ({"training": {"scheduler": {"name": "StepLRR"}}}, ["scheduler", "'StepLR'"]),
    ({"data": {"initial": {}}}, ["exactly one of", "none"]),
    ({"data": {"initial": {"share": 0.1, "count": 3}}}, ["exactly one of", "share and count"]),
    ({"data": {"split": {"test": 0.6, "validation": 0.5}}}, ["leave something", "0.6"]),
    ({"data": {"initial": {"indices": [-1]}}}, ["data.initial.indices"]),
    ({"data": {"initial": {"indices": [10**30]}}}, ["data.initial.indices"]),
    ({"training": {"device": "gpu"}}, ["training.device", "gpu"]),
    ({"training": {"threads": 0}}, ["threads", "auto"]),
    ({"training": {"processes": 0}}, ["training.processes"]),
    ({"training": {"processes": 2, "optimizer": {"name": "LBFGS", "options": {"lr": 1.0}}}},
     ["LBFGS", "set processes to 1"]),
    ({"training": {"distributed": {"nodes": 2}}}, ["2 nodes meet", "rendezvous"]),
    ({"training": {"distributed": {"rendezvous": "a:1"}}}, ["no effect with one node"]),
    ({"training": {"distributed": {"nodes": 2, "rendezvous": "a:1", "launcher": "ray"}}},
     ["Ray places processes", "torchrun"]),
    ({"seed": -1}, ["seed", "-1"]),
    ({"seed": math.nan}, ["seed"]),
    ({"training": {"fine_tuning_lr": math.inf}}, ["fine_tuning_lr"]),
    ({"name": "a\nb"}, ["name"]),
    ({"strategies": 3}, ["strategies"]),
    ({"schedules": {"name": "static", "group": "driver"}}, ["group"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), RELATIONS)
def test_what_does_not_fit_together_is_refused_in_one_line(
    content: Any, changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as error:
        build_experiment(content(**changes))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_options_hold_no_nan_or_infinity(content: Any, bad: float) -> None:
    with pytest.raises(ConfigurationError, match="finite"):
        build_experiment(content(training={"optimizer": {"name": "SGD", "options": {"lr": bad}}}))
    with pytest.raises(ConfigurationError, match="finite"):
        build_experiment(content(stop={"name": "plateau", "options": {"min_delta": bad}}))
    with pytest.raises(ConfigurationError, match="finite"):
        build_experiment(content(gate={"name": "g", "options": {"a": [{"b": bad}]}}))


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "builtins:eval", "examples._x:y"])
def test_a_forbidden_import_path_is_refused_when_read(content: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not allowed|private"):
        build_experiment(content(learner=name))


def test_short_forms_equal_long_forms(content: Any) -> None:
    short = build_experiment(content(stop="plateau"))
    long = build_experiment(
        content(
            data={"pool": {"name": "digits", "options": {}}},
            strategies={
                "query": [{"name": "margin"}],
                "label": {"name": "oracle"},
                "metrology": [{"name": "f1"}],
            },
            stop=[{"name": "plateau"}],
        )
    )
    assert short == long


def test_n_may_stand_under_options(content: Any) -> None:
    beside = build_experiment(content(strategies={"query": {"name": "margin", "n": 7}}))
    under = build_experiment(content(strategies={"query": {"name": "margin", "options": {"n": 7}}}))
    assert beside == under
    assert beside.strategies.budget == 7
    assert under.strategies.query[0].options == {}


def test_n_beside_and_under_options_is_one_too_many(content: Any) -> None:
    from querist.registry import check_options

    query = {"name": "margin", "n": 3, "options": {"n": 7}}
    experiment = build_experiment(content(strategies={"query": query}))
    named = experiment.strategies.query[0]
    with pytest.raises(ConfigurationError, match="option"):
        check_options("query", named.name, named.options)


def test_budget_is_the_batch_or_the_sum(content: Any) -> None:
    two = [{"name": "margin", "n": 3}, {"name": "random", "n": 4}]
    assert build_experiment(content(strategies={"query": two})).strategies.budget == 7
    batch = build_experiment(content(strategies={"query": two, "batch": 5}))
    assert batch.strategies.budget == 5


def test_the_schema_builds_and_every_field_is_described() -> None:
    schema = Experiment.model_json_schema()
    groups = {"Experiment": schema, **schema["$defs"]}
    missing = [
        f"{group}.{key}"
        for group, content in groups.items()
        if "properties" in content
        for key, field in content["properties"].items()
        if not field.get("description")
        # pydantic leaves out a description that is the group's own
        and not schema["$defs"][field["$ref"].rpartition("/")[2]].get("description")
    ]
    assert missing == []
    refused = [g for g, c in groups.items() if "properties" in c and c["additionalProperties"]]
    assert refused == []


def test_round_trip_of_a_full_experiment(content: Any) -> None:
    experiment = build_experiment(
        content(
            seed=2**62,
            training={
                "scheduler": {"name": "StepLR", "options": {"step_size": 3}},
                "early_stopping": {},
                "threads": 3,
                "fine_tuning_lr": 1e-5,
            },
            stop=["plateau", {"name": "label_budget", "options": {"labels": 9}}],
            schedules={"name": "static", "group": "training", "options": {"settings": {}}},
            gate="metric_improvement",
            driver={"run_id": "a.b_c-d", "root_log_dir": "somewhere/else"},
        )
    )
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment


numbers = st.integers(1, 10**6)


@given(
    seed=st.integers(0, 2**63 - 1),
    name=st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=100),
    epochs=numbers,
    batch=st.none() | numbers,
    test=st.floats(0, 0.5),
    lr=st.floats(1e-9, 10),
    n=st.lists(numbers, min_size=1, max_size=3),
)
def test_round_trip(
    seed: int, name: str, epochs: int, batch: int | None, test: float, lr: float, n: list[int]
) -> None:
    experiment = Experiment.model_validate(
        {
            "name": name,
            "seed": seed,
            "data": {"pool": "digits", "split": {"test": test}},
            "learner": "sklearn",
            "training": {
                "max_training_epochs": epochs,
                "fine_tuning_lr": lr,
                "optimizer": {"name": "SGD", "options": {"lr": lr}},
            },
            "strategies": {
                "query": [{"name": "margin", "n": k} for k in n],
                "batch": batch,
                "label": "oracle",
                "metrology": "f1",
            },
        }
    )
    assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment
