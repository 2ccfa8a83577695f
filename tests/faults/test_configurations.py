"""Row 22, at random: a configuration is refused in one line within a second, or it runs."""

from __future__ import annotations

import copy
import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from querist.config import Experiment
from querist.config.load import apply_overrides, build_experiment, dump_yaml, merge, read_yaml
from querist.errors import ConfigurationError, QueristError
from querist.runs import close_run, create_run
from tests.shared.runs import BASE, iterate

EVERY = 20
"""One of so many accepted configurations is run."""

good: dict[tuple[str, ...], Any] = {
    ("name",): st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=100),
    ("seed",): st.integers(0, 2**63 - 1),
    ("data", "pool", "options", "n"): st.integers(8, 60),
    ("data", "pool", "options", "noise"): st.floats(0, 2),
    ("data", "split"): st.fixed_dictionaries(
        {}, optional={"validation": st.floats(0, 0.5), "stratify": st.booleans()}
    ),
    ("data", "initial"): st.one_of(
        st.fixed_dictionaries({"count": st.integers(1, 70)}, optional={"stratify": st.booleans()}),
        st.fixed_dictionaries({"share": st.floats(0.01, 1)}),
        st.fixed_dictionaries({"indices": st.lists(st.integers(0, 70), min_size=1, max_size=9)}),
    ),
    ("learner",): st.sampled_from(
        [
            {"name": "sklearn", "options": {"estimator": "LogisticRegression"}},
            {"name": "sklearn", "options": {"estimator": "GaussianNB"}},
            {"name": "sklearn", "options": {"estimator": "KNeighborsClassifier"}},
        ]
    ),
    ("training", "max_training_epochs"): st.integers(1, 3),
    ("training", "max_fine_tuning_epochs"): st.integers(0, 3),
    ("training", "batch_size"): st.integers(1, 10**7),
    ("training", "optimizer"): st.fixed_dictionaries(
        {"name": st.sampled_from(["Adam", "SGD", "AdamW", "LBFGS", "Rprop"])},
        optional={"options": st.fixed_dictionaries({"lr": st.floats(1e-9, 10)})},
    ),
    ("training", "fine_tuning_lr"): st.floats(1e-9, 10),
    ("training", "loss"): st.sampled_from(["auto", "cross_entropy", "bce_with_logits", "mse"]),
    ("training", "dtype"): st.sampled_from(["float32", "float64", "bfloat16"]),
    ("training", "warm_start"): st.booleans()
    | st.sampled_from(["scratch", {"mode": "shrink_and_perturb", "shrink": 0.3}]),
    ("training", "last_batch"): st.sampled_from(["keep", "drop", "fill"]),
    ("training", "accumulate_batches"): st.integers(1, 10**6),
    ("training", "clip_grad_norm"): st.none() | st.floats(1e-6, 1e9),
    ("training", "mixed_precision"): st.sampled_from([None, "bf16", "fp16"]),
    ("training", "static_capture"): st.sampled_from(["auto", True, False]),
    ("training", "reset_optimizer"): st.booleans(),
    ("training", "early_stopping"): st.just({}),
    ("strategies", "query"): st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["margin", "entropy", "random", "least_confidence"])},
            optional={"n": st.integers(1, 80)},
        ),
        min_size=1,
        max_size=3,
    ),
    ("strategies", "batch"): st.none() | st.integers(1, 10**9),
    ("strategies", "chunk_size"): st.integers(1, 10**9),
    ("strategies", "metrology"): st.sampled_from(["f1", "accuracy", ["f1", "accuracy"], []]),
    ("stop",): st.sampled_from(
        [
            {"name": "plateau", "options": {"metric": "f1"}},
            {"name": "label_budget", "options": {"labels": 12}},
            {"name": "max_iterations", "options": {"n": 1}},
        ]
    ),
    ("gate",): st.just({"name": "metric_improvement", "options": {"metric": "f1"}}),
    ("driver", "max_active_learning_steps"): st.integers(1, 10**6),
    ("driver", "checkpoint_interval"): st.integers(0, 10**6),
    ("driver", "skip_training"): st.booleans(),
    ("driver", "skip_labeling"): st.booleans(),
    ("driver", "skip_metrology"): st.booleans(),
    ("tracking", "log_models_every"): st.integers(0, 10**6),
}
odd = st.one_of(
    st.sampled_from(
        [None, True, False, -1, 0, 0.5, -0.0, "", "x", [], {}, [[]], {"name": "x"}, {"n": 1}, "0",
         math.nan, math.inf, 1e308, 10**30, -(10**400), "\x00", "\ud800", "\u202ex", "a" * 10_000,
         "os:system", "examples.two_moons.data:sample_moons", "plateau", ["f1"] * 200]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=4), x, max_size=4),
        max_leaves=10,
    ),
)  # fmt: skip
unknown = st.tuples(st.sampled_from(["seed", "training", "x", "driver"]), st.text(max_size=5))
places = st.sampled_from(list(good))
near = places.flatmap(lambda place: st.tuples(st.just(place), good[place]))
far = st.tuples(places | unknown, odd)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """The small experiment, with up to six settings changed, most of them to something sound."""
    content = copy.deepcopy(BASE)
    for place, value in draw(st.lists(near | near | near | far, max_size=6)):
        here: Any = content
        for step in place[:-1]:
            if not isinstance(here.get(step), dict):
                here[step] = {}
            here = here[step]
        here[place[-1]] = value
    return content


def attempt(content: Any) -> Experiment | None:
    """The experiment; None where it is refused, in one line and in time."""
    started = time.process_time()
    try:
        found = build_experiment(content)
        message = ""
    except ConfigurationError as error:
        found, message = None, str(error)
    assert time.process_time() - started < 1
    assert "\n" not in message
    assert len(message) < 2000
    return found


def run_once(experiment: Experiment, root: Path) -> None:
    """Make a run and do one iteration; a refusal in our own words is an answer, too."""
    small = {"driver": {"root_log_dir": str(root)}, "tracking": {"enabled": False}}
    capped = {"threads": 1, "max_training_epochs": min(experiment.training.max_training_epochs, 3)}
    content = merge(merge(experiment.model_dump(mode="json"), small), {"training": capped})
    try:
        run = create_run(build_experiment(content))
    except QueristError as error:
        event(f"refused when made: {type(error).__name__}")
        return
    try:
        iterate(run, 0)
        event("ran")
    except QueristError as error:
        event(f"stopped: {type(error).__name__}")
    finally:
        close_run(run.reference)


def quick(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=list(HealthCheck),
    )


def test_near_the_valid_ones(
    tries: Callable[..., int], tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    accepted = 0

    @quick(tries(22, 500, 6_000))
    @given(contents())
    def check(content: dict[str, Any]) -> None:
        nonlocal accepted
        tried(22)
        experiment = attempt(content)
        if experiment is not None:
            accepted += 1
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "e.yaml"
                path.write_text(dump_yaml(experiment.model_dump(mode="json")), encoding="utf-8")
                assert build_experiment(read_yaml(path)) == experiment
                if accepted % EVERY == 1:
                    run_once(experiment, Path(folder))
        survived(22)

    check()
    assert accepted > EVERY


def test_far_from_the_valid_ones(
    tries: Callable[..., int], tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    @quick(tries(22, 300, 2_000))
    @given(st.dictionaries(st.sampled_from([*BASE, "x"]), odd, max_size=6), st.booleans())
    def check(content: dict[str, Any], beside: bool) -> None:
        tried(22)
        attempt({**BASE, **content} if beside else content)
        survived(22)

    check()


def test_overrides_at_random(
    tries: Callable[..., int], tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    keys = (places | unknown).map(".".join)
    values = st.text(max_size=30) | st.sampled_from(["[", "{", "!!python/name:os.system ''", "&a"])

    @quick(tries(22, 200, 1_500))
    @given(st.lists(st.tuples(keys, values).map("=".join) | st.text(max_size=20), max_size=3))
    def check(overrides: list[str]) -> None:
        tried(22)
        try:
            attempt(apply_overrides(BASE, overrides))
        except ConfigurationError as error:
            message = str(error)
        else:
            message = ""
        assert "\n" not in message
        survived(22)

    check()


def test_files_at_random(
    tries: Callable[..., int], tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    words = st.sampled_from(
        ["name", "seed", ": ", "\n", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!str ", "? ",
         "'", '"', "|\n", ">\n", "#", "%", "---\n", "...\n", "1", "1:1", "0x1", ".inf", "~", "<<",
         "  ", "\t", "\x07", "\u2028", "\ufeff", "é", "!!python/object/apply:os.system "]
    )  # fmt: skip

    @quick(tries(22, 200, 1_500))
    @given(st.lists(words, max_size=30).map("".join).map(str.encode) | st.binary(max_size=60))
    def check(text: bytes) -> None:
        tried(22)
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            try:
                attempt(read_yaml(Path(file.name)))
            except ConfigurationError as error:
                message = str(error)
            else:
                message = ""
        assert "\n" not in message
        survived(22)

    check()
