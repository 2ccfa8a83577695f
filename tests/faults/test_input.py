"""Row 22, the table: what is too large, too deep or no number is refused within a second."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from querist.config import Experiment
from querist.config.comparison import Comparison, build_comparison
from querist.config.limits import MAX_BYTES, MAX_DEPTH, MAX_VALUES
from querist.config.load import apply_overrides, build_experiment, explain, load_experiment, merge
from querist.errors import ConfigurationError
from tests.shared.runs import BASE

SECOND = float(os.environ.get("FAULTS_SECOND", "1"))
DEEP = 10_000


def refused(call: Callable[[], Any]) -> str:
    """The message with which `call` is refused, in one line, within a second of CPU time."""
    started = time.process_time()
    with pytest.raises((ConfigurationError, ValidationError)) as error:
        call()
    # CPU time, since the machine may be loaded; nothing here waits for anything.
    assert time.process_time() - started < SECOND
    if isinstance(error.value, ValidationError):
        return explain(error.value)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 2000
    return message


def nested(depth: int, kind: type) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = {"a": made} if kind is dict else [made]
    return made


def laughs(depth: int) -> Any:
    """2 ** depth values that share their memory."""
    made: Any = ["ha", "ha"]
    for _ in range(depth):
        made = [made, made]
    return made


def endless() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["again"] = made
    return made


TEXTS: dict[str, str | bytes] = {
    "10 MB": b"a" * 10**7,
    "10 MB that begin well": b"name: x\nseed: 1\n#" + b"a" * 10**7,
    "10,000 deep, flow": "a: " + "[" * DEEP,
    "10,000 deep and closed": "a: " + "[" * DEEP + "]" * DEEP,
    "900,000 deep": "a: " + "[" * 900_000,
    "mappings 10,000 deep": "a: " + "{a: " * DEEP,
    "dashes": "- " * 100_000,
    "question marks": "? " * DEEP,
    "block": "\n".join(" " * i + "a:" for i in range(1300)),
    "80,000 keys": "\n".join(f"k{i}: 1" for i in range(80_000)),
    "one key 160,000 times": "k: 1\n" * 160_000,
    "a list of 490,000": "a: [" + "1," * 490_000 + "]",
    "a set": "a: !!set {" + ",".join(map(str, range(100_000))) + "}",
    "merge keys": "a: {<<: [" + "{a: 1}," * 100_000 + "]}",
    "200,000 documents": "---\n" * 200_000,
    "a name of 990 kB": "name: " + "a" * 990_000,
    "escapes": 'name: "' + "\\x41" * 240_000 + '"',
    "a whole number of 990,000 digits": "seed: " + "9" * 990_000,
    "a number with 990,000 places": "seed: 1." + "9" * 990_000,
    "hexadecimal": "seed: 0x" + "f" * 900_000,
    "underscores": "seed: " + "1_" * 490_000,
    "base 60": "seed: " + "1:" * 300_000 + "1",
    "base 60, many of them": "stop: [" + ("1:" * 5_000 + "1, ") * 90 + "]",
    "lines": "\n" * 999_999,
    "comment": "#" * 900_000,
    "colons": "a: " * 100_000,
    "anchors": "a: " + "&a " * 100_000,
    "a billion laughs": "a0: &a0 [x, x]\n"
    + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)),
    "an alias to itself": "a: &a [*a]",
    "directives": "%YAML 1.1\n" * 90_000,
    "not UTF-8": b"name: \xff\xfe",
    "UTF-16": "name: x".encode("utf-16"),
    "NUL": b"name: a\x00b",
    "an escaped NUL": 'name: x\nlearner: {name: a, options: {a: "\\0"}}',
    "a surrogate": 'name: x\nlearner: {name: a, options: {a: "\\ud800"}}',
    "binary": "name: !!binary gIGC",
    "a date": "name: 2001-01-01",
    "a key that is a list": "? [a]\n: 1",
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_files(
    name: str, tmp_path: Path, tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    tried(22)
    path = tmp_path / "experiment.yaml"
    text = TEXTS[name]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert str(path) in refused(lambda: load_experiment(path))
    survived(22)


@pytest.mark.parametrize("name", [n for n, t in TEXTS.items() if isinstance(t, str)])
def test_overrides(name: str, tried: Callable[..., None], survived: Callable[..., None]) -> None:
    tried(22, 2)
    text = str(TEXTS[name])
    refused(lambda: build_experiment(apply_overrides(BASE, ["learner.options.a=[[" + text])))
    refused(lambda: build_experiment(apply_overrides(BASE, [text])))
    survived(22, 2)


@pytest.mark.parametrize(
    "overrides",
    [
        ["a." * DEEP + "a=1"],
        ["learner.options." + "a." * DEEP + "a=1"],
        ["=" * 10**6],
        ["a" * 10**6],
        [f"k{i}=1" for i in range(2000)],
        ["learner.options.a=" + "9" * 10**6],
        ["learner.options.a=\udcff"],
        ["learner.\udcff=1"],
        ["learner.options.a\x00=1"],
        ["stop.0=plateau"],
    ],
    ids=lambda o: o[0][:20].encode("ascii", "replace").decode(),
)
def test_overrides_of_their_own(
    overrides: list[str], tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    tried(22)
    refused(lambda: build_experiment(apply_overrides(BASE, overrides)))
    survived(22)


VALUES: dict[str, Callable[[], Any]] = {
    "mappings 10,000 deep": lambda: nested(DEEP, dict),
    "lists 10,000 deep": lambda: nested(DEEP, list),
    "33 deep": lambda: nested(MAX_DEPTH + 1, dict),
    "a billion laughs": lambda: laughs(30),
    "endless": endless,
    "100,000 keys": lambda: {f"k{i}": i for i in range(10**5)},
    "a list of 100,000": lambda: ["plateau"] * 10**5,
    "just too many": lambda: [0] * MAX_VALUES,
    "10 MB": lambda: "a" * 10**7,
    "many texts": lambda: ["a" * 90_000] * 12,
    "a whole number of 100,000 bits": lambda: 1 << 100_000,
    "a key of 10 kB": lambda: {"k" * 10_000: 1},
    "a key that is deep": lambda: {(((((1,),),),),): 1},
    "NUL": lambda: "a\x00",
    "a surrogate": lambda: "\ud800",
    "NaN": lambda: math.nan,
    "an object": object,
    "bytes": lambda: b"abc",
    "a function": lambda: os.system,
}
PLACES: list[tuple[str, ...]] = [
    ("seed",), ("name",), ("anything",), ("stop",), ("data", "pool"),
    ("data", "initial", "indices"), ("learner", "options", "a"), ("learner", "options"),
    ("training", "optimizer", "options", "lr"),
    ("strategies", "query"), ("driver", "root_log_dir"), ("driver", "run_id"), ("tracking", "uri"),
]  # fmt: skip


def with_value(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    content: Any = value
    for step in reversed(place[1:]):
        content = {step: content}
    first = BASE.get(place[0])
    both = isinstance(first, dict) and isinstance(content, dict) and len(place) > 1
    return {**BASE, place[0]: merge(first, content) if both else content}


@pytest.mark.parametrize("place", PLACES, ids=".".join)
@pytest.mark.parametrize("name", VALUES)
def test_values_from_python(
    name: str, place: tuple[str, ...], tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    if name == "bytes" and place in (("name",), ("driver", "run_id"), ("tracking", "uri")):
        return  # read as the text that they are
    tried(22, 3)
    value = VALUES[name]()
    if name == "33 deep" and place[-1] == "options":
        value = {"a": value}
    content = with_value(place, value)
    refused(lambda: build_experiment(content))
    refused(lambda: Experiment.model_validate(content))
    refused(lambda: Experiment(**content))
    survived(22, 3)


@pytest.mark.parametrize("name", ["mappings 10,000 deep", "lists 10,000 deep", "100,000 keys"])
def test_json(name: str, tried: Callable[..., None], survived: Callable[..., None]) -> None:
    tried(22, 2)
    if "deep" in name:
        pair = ('{"a":', "}") if "mappings" in name else ("[", "]")
        text = pair[0] * DEEP + "1" + pair[1] * DEEP
    else:
        text = json.dumps(VALUES[name]())
    whole = json.dumps({**BASE, "learner": {"name": "sklearn", "options": {"x": "HERE"}}})
    refused(lambda: Experiment.model_validate_json(whole.replace('"HERE"', text)))
    refused(lambda: Experiment.model_validate_json(text))
    survived(22, 2)


@pytest.mark.parametrize("name", ["mappings 10,000 deep", "a billion laughs", "endless", "10 MB"])
def test_comparisons(
    name: str, tmp_path: Path, tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    tried(22, 4)
    value = VALUES[name]()
    content = {"name": "c", "base": BASE, "seeds": [1], "variants": {"v": {"learner": value}}}
    refused(lambda: Comparison.model_validate(content))
    refused(lambda: build_comparison({"comparison": content}, tmp_path / "c.yaml"))
    refused(lambda: build_comparison({"comparison": value}, tmp_path / "c.yaml"))
    refused(lambda: build_comparison({"comparison": {"base": value}}, tmp_path / "c.yaml"))
    survived(22, 4)


NUMBERS = [1e308, -1e308, math.nan, math.inf, -math.inf, 10**400, -(10**400), 1 << 256, -0.0, True,
           False, "1e999", "x", [1], {}, -3, 0.5]  # fmt: skip


def numeric_fields() -> list[tuple[str, str]]:
    """Every group and field that holds a number, found in the schema."""
    schema = Experiment.model_json_schema()
    groups = {"Experiment": schema, **schema["$defs"]}
    return [
        (group, key)
        for group, content in groups.items()
        for key, field in content.get("properties", {}).items()
        if numeric(field)
    ]


def numeric(field: dict[str, Any]) -> list[dict[str, Any]]:
    branches = [field, *field.get("anyOf", []), *field.get("prefixItems", [])]
    branches += [b["items"] for b in branches if isinstance(b.get("items"), dict)]
    return [b for b in branches if b.get("type") in ("integer", "number") and "const" not in b]


def test_every_number_has_a_finite_range() -> None:
    schema = Experiment.model_json_schema()
    groups = {"Experiment": schema, **schema["$defs"]}
    without = [
        (group, key)
        for group, key in numeric_fields()
        for branch in numeric(groups[group]["properties"][key])
        if not {"minimum", "exclusiveMinimum"} & set(branch)
        or not {"maximum", "exclusiveMaximum"} & set(branch)
    ]
    # Its range is checked by a validator: `anyOf` with "auto".
    assert without == [("TrainingConfig", "threads")]
    assert len(numeric_fields()) >= 20


GROUP_AT = {
    "Experiment": (), "TrainingConfig": ("training",),
    "EarlyStopping": ("training", "early_stopping"), "WarmStart": ("training", "warm_start"),
    "LoaderConfig": ("training", "loader"), "DistributedConfig": ("training", "distributed"),
    "DriverConfig": ("driver",), "TrackingConfig": ("tracking",), "DataConfig": ("data",),
    "SplitConfig": ("data", "split"),
    "StrategiesConfig": ("strategies",), "InitialConfig": ("data", "initial"),
    "QueryComponent": ("strategies", "query"),
}  # fmt: skip
SHARES = {
    key
    for group, key in numeric_fields()
    if group != "Experiment"
    for branch in numeric(Experiment.model_json_schema()["$defs"][group]["properties"][key])
    if branch["type"] == "number"
}
"""Half an epoch means nothing, half of the pool does."""


@pytest.mark.parametrize(("group", "key"), numeric_fields())
def test_numbers(
    group: str, key: str, tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    for number in NUMBERS:
        if number == 0.5 and key in SHARES:
            continue
        tried(22)
        value: Any = [number] if key == "indices" else number
        content = with_value((*GROUP_AT[group], key), value)
        if group == "InitialConfig":
            content["data"]["initial"] = {key: value}
        message = refused(lambda content=content: build_experiment(content))  # type: ignore[misc]
        assert key in message or "whole number" in message, message
        survived(22)


@pytest.mark.parametrize("lr", [1e308, math.nan, math.inf, 0, -0.0, -1, True, 10**30, "x", [1]])
def test_learning_rates(lr: Any, tried: Callable[..., None], survived: Callable[..., None]) -> None:
    tried(22)
    place = ("training", "optimizer", "options", "lr")
    refused(lambda: build_experiment(with_value(place, lr)))
    survived(22)


@pytest.mark.parametrize("text", ["a" * 10_000, "\u202egnp.exe", "a\u0000", "\udcff\udc80", "\n\r"])
@pytest.mark.parametrize("place", [*PLACES, ("strategies", "metrology"), ("training", "loss")])
def test_texts_are_data_or_refused(
    text: str, place: tuple[str, ...], tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    tried(22)
    started = time.process_time()
    try:
        experiment = build_experiment(with_value(place, text))
        message = ""
        again = Experiment.model_validate_json(experiment.model_dump_json())
        assert again == experiment
    except ConfigurationError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 2000
    assert time.process_time() - started < SECOND
    survived(22)


def test_files_that_are_none(
    tmp_path: Path, tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    strange = [pipe, tmp_path, Path("/dev/zero"), Path("a\x00b"), Path("a" * 5000), Path("a\nb"),
               Path("\udcff")]  # fmt: skip
    for path in strange:
        tried(22)
        refused(lambda path=path: load_experiment(path))  # type: ignore[misc]
        survived(22)


def test_what_is_just_small_enough(tmp_path: Path) -> None:
    options = {"a": "a" * 99_000, "b": [0] * 15_000, "c": "\u202e\u0007" * 2_000}
    content = merge(BASE, {"learner": {"name": "x", "options": options}})
    experiment = build_experiment(content)
    from querist.config.load import dump_yaml

    path = tmp_path / "experiment.yaml"
    path.write_text(dump_yaml(experiment.model_dump(mode="json")), encoding="utf-8")
    assert path.stat().st_size < MAX_BYTES
    assert load_experiment(path) == experiment
