from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.config.comparison import Comparison, build_comparison
from querist.errors import ConfigurationError

Content = Callable[..., dict[str, Any]]


@pytest.fixture
def build(content: Content, tmp_path: Path) -> Callable[..., Comparison]:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(content()))

    def make(**changes: Any) -> Comparison:
        inner = {
            "name": "which one",
            "base": "base.yaml",
            "seeds": [0, 1],
            "variants": {"as it is": {}, "random": {"strategies": {"query": "random"}}},
        } | changes
        return build_comparison({"comparison": inner}, tmp_path / "comparison.yaml")

    return make


def test_base_is_a_file_beside_or_a_mapping(build: Any, content: Content) -> None:
    assert build() == build(base=content())


def test_a_variant_is_the_base_with_changes(build: Any) -> None:
    comparison = build()
    base = comparison.experiment("as it is", 1)
    random = comparison.experiment("random", 1)
    assert (base.strategies.query[0].name, random.strategies.query[0].name) == ("margin", "random")
    assert base.seed == random.seed == 1
    assert random.name == "small random seed 1"
    assert random.tracking.experiment == "which one"
    assert random.learner == base.learner


def test_the_base_chooses_the_mlflow_experiment(build: Any, content: Content) -> None:
    own = build(base=content(tracking={"experiment": "own"}))
    assert own.experiment("random", 0).tracking.experiment == "own"


def test_baseline(build: Any) -> None:
    assert build().baseline_name() == "as it is"
    assert build(baseline="random").baseline_name() == "random"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "nobody"}, "baseline 'nobody' is no variant: name one of as it is, random"),
        ({"seeds": [1, 1]}, "each seed runs once"),
        ({"seeds": []}, "seeds"),
        ({"variants": {}}, "variants"),
        ({"variants": {"a/b": {}}}, "unlike 'a/b'"),
        ({"variants": {"x": {"traning": {}}}}, "no key named 'traning'"),
        ({"metrics": "f1"}, "no key named 'metrics': did you mean 'metric'"),
        ({"base": 3}, "base is the path of an experiment, not 3"),
        ({"base": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_what_is_refused(build: Any, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_stands_beside_the_comparison(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="everything under it, not 'seed' beside it"):
        build_comparison({"comparison": {}, "seed": 1}, tmp_path / "c.yaml")


def test_two_variants_never_share_a_run(build: Any) -> None:
    """Runs are named after their variants, blanks as hyphens."""
    with pytest.raises(ConfigurationError, match="a-b"):
        build(variants={"a b": {}, "a-b": {}})
