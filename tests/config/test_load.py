from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from querist.config.load import (
    MAX_BYTES,
    apply_overrides,
    build_experiment,
    dump_yaml,
    load_experiment,
    merge,
    read_yaml,
)
from querist.errors import ConfigurationError

MOONS = Path(__file__).parents[2] / "examples" / "two_moons" / "experiment.yaml"


def test_yaml_and_python_give_the_same_experiment(content: Any, tmp_path: Path) -> None:
    made = content(driver={"run_id": "abc"}, training={"fine_tuning_lr": 0.001})
    path = tmp_path / "e.yaml"
    path.write_text(yaml.safe_dump(made))
    assert load_experiment(path) == build_experiment(made)


def test_the_example_has_the_numbers_of_the_main_job() -> None:
    moons = load_experiment(MOONS)
    assert moons.seed == 216167
    assert moons.data.initial.share == 0.05
    assert moons.training.optimizer.options == {"lr": 0.01}
    assert moons.training.fine_tuning_lr == 0.005
    assert moons.training.fine_tuning_epochs == moons.training.max_training_epochs == 30
    assert moons.driver.max_active_learning_steps == 70
    assert moons.strategies.budget == 10


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3", "1e-03"])
def test_numbers_are_read_as_people_write_them(content: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "e.yaml"
    made = content(training={"optimizer": {"name": "SGD", "options": {"lr": "LR"}}})
    path.write_text(yaml.safe_dump(made).replace("LR", text))
    assert load_experiment(path).training.optimizer.options["lr"] == 0.001
    override = f"training.optimizer.options.lr={text}"
    found = build_experiment(apply_overrides(content(training={"optimizer": "SGD"}), [override]))
    assert found.training.optimizer.options["lr"] == 0.001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", ["not valid YAML"]),
        ("- a\n- b", ["no mapping", "name:"]),
        ("", ["no mapping"]),
        ("a: &x 1\nb: *x", ["aliases"]),
        ("a: " + "[" * 40 + "]" * 40, ["levels deep"]),
        ("a: !!python/object/apply:os.system ['true']", ["not valid YAML"]),
        ("a: 2001-99-99", ["not valid YAML"]),
        ("a: 1\na: 2", ["twice"]),
        ("a: " + "9" * 5000, ["not valid YAML"]),
        ("a: \x07", ["not valid YAML"]),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_yaml(path)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_too_large_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_yaml(tmp_path)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"a" * (MAX_BYTES + 1))
    with pytest.raises(ConfigurationError, match="1,000,000 bytes"):
        read_yaml(large)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        read_yaml(binary)


def test_a_billion_laughs_stay_unread(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    path = tmp_path / "laughs.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match="aliases"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("training.fine_tuning_lr=1e-3", ("training", "fine_tuning_lr"), 0.001),
        ("strategies.query=random", ("strategies", "query"), "random"),
        ("strategies.query.n=3", ("strategies", "query"), {"name": "margin", "n": 3}),
        ("strategies.label.options.cost=2", ("strategies", "label"),
         {"name": "oracle", "options": {"cost": 2}}),
        ("gate=null", ("gate",), None),
        ("name=a=b", ("name",), "a=b"),
        ("stop=[plateau]", ("stop",), ["plateau"]),
        ("driver={run_id: x}", ("driver",), {"run_id": "x"}),
        ("driver.skip_training=true", ("driver", "skip_training"), True),
        (" seed =1", ("seed",), 1),
    ],
)  # fmt: skip
def test_overrides(content: Any, override: str, place: tuple[str, ...], value: Any) -> None:
    found: Any = apply_overrides(content(), [override])
    for step in place:
        found = found[step]
    assert found == value


def test_overrides_of_list_elements(content: Any) -> None:
    base = content(
        strategies={
            "query": [{"name": "margin", "n": 1}, {"name": "random", "n": 2}],
            "metrology": ["f1", "accuracy"],
        }
    )
    overrides = [
        "strategies.query.1.n=9",
        "strategies.metrology.0.options.average=macro",
        "strategies.metrology.1=f1",
    ]
    made = apply_overrides(base, overrides)["strategies"]
    assert made["query"][1]["n"] == 9
    assert made["metrology"] == [{"name": "f1", "options": {"average": "macro"}}, "f1"]
    assert base["strategies"]["metrology"] == ["f1", "accuracy"], "the base was changed"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "key=value"),
        ("=3", "key=value"),
        ("seed=[1", "not valid YAML"),
        ("when=2001-99-99", "not valid YAML"),
        ("seed.x=3", "looks inside 'seed'"),
        ("stop.5=plateau", "position"),
        ("stop.x=plateau", "position"),
        ("stop.0.1.2=3", "inside"),
        ("a=*b", "aliases"),
        ("a={b: 1, b: 2}", "twice"),
        ("a=" + "[" * 50, "levels deep"),
    ],
)
def test_overrides_that_say_nothing(content: Any, override: str, words: str) -> None:
    base = content(seed=1, stop=[["plateau", 3]])
    with pytest.raises(ConfigurationError, match=words) as error:
        apply_overrides(base, [override])
    assert "\n" not in str(error.value)


keys = st.sampled_from(["seed", "stop", "data", "0", "1", "name", "strategies", "query", "x", ""])


@given(
    st.lists(keys, min_size=1, max_size=5),
    st.text(max_size=10) | st.sampled_from(["1", "[a]", "{a: b}"]),
)
def test_any_override_is_merged_or_refused_in_one_line(path: list[str], text: str) -> None:
    base = {
        "seed": 1,
        "stop": ["plateau", {"name": "x"}],
        "data": None,
        "strategies": {"query": "margin"},
    }
    try:
        apply_overrides(base, [".".join(path) + "=" + text])
    except ConfigurationError as refused:
        message = str(refused)
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize(
    "name", ["1e5", "1234e567", "-2E+3", "null", "yes", "0x1f", "1_0", "a: b", "ü\u2028"]
)
def test_text_that_looks_like_something_else_is_read_back(
    content: Any, tmp_path: Path, name: str
) -> None:
    experiment = build_experiment(content(name=name, learner={"name": "x", "options": {"a": name}}))
    path = tmp_path / "e.yaml"
    path.write_text(dump_yaml(experiment.model_dump(mode="json")))
    assert load_experiment(path) == experiment


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**256) + 1, 2**256 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8),
        lambda x: (
            st.lists(x, max_size=3) | st.dictionaries(st.text("ab1e:", max_size=4), x, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_what_is_dumped_is_read_back(options: Any) -> None:
    text = dump_yaml({"a": options})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.yaml"
        path.write_bytes(text.encode())
        assert read_yaml(path) == {"a": options}


def test_merge_goes_into_mappings_and_replaces_the_rest() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge(base, {"a": {"c": [3]}, "e": None}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": None}
    assert base["a"] == {"b": 1, "c": [1, 2]}


def test_a_component_that_is_named_anew_starts_with_its_own_options() -> None:
    base = {"query": {"name": "margin", "options": {"x": 1}}}
    assert merge(base, {"query": {"name": "random"}}) == {"query": {"name": "random"}}
    kept = merge(base, {"query": {"name": "margin", "n": 3}})
    assert kept == {"query": {"name": "margin", "options": {"x": 1}, "n": 3}}
