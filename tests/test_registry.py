from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from querist import registry
from querist.errors import ConfigurationError, DataError, ForbiddenImportError, UnknownNameError
from querist.registry import (
    ALLOWED_PACKAGES_VARIABLE,
    Registered,
    build,
    check_import_path,
    check_options,
    components,
    find,
    found_elsewhere,
    import_object,
    register,
)


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Registered]]:
    """A registry of its own for a test that writes into it, with the built-ins in it."""
    components()
    copied = {kind: dict(found) for kind, found in registry._components.items()}
    monkeypatch.setattr(registry, "_components", copied)
    return copied


class EntryPoint:
    def __init__(self, name: str, target: Any) -> None:
        self.name, self.target, self.loaded, self.value = name, target, 0, "plugin:Thing"

    def load(self) -> Any:
        self.loaded += 1
        if isinstance(self.target, Exception):
            raise self.target
        return self.target


class Thing:
    """A thing.

    More about it.
    """

    def __init__(self, size: int, colour: str = "red") -> None:
        self.size, self.colour = size, colour
        if size < 0:
            raise ValueError("size is at least 0")
        if size > 10**9:
            raise OverflowError("size is too large")
        if size == 13:
            raise RuntimeError("size\n13 is bad luck")


def test_register_and_find(empty: Any) -> None:
    assert register("query", "thing")(Thing) is Thing
    assert find("query", "thing") is Thing
    named = next(c for c in components("query") if c.name == "thing")
    assert named.summary == "A thing."
    assert list(named.options) == ["size", "colour"]


def test_a_name_that_is_taken(empty: Any) -> None:
    register("query", "thing")(Thing)
    register("query", "thing")(Thing)  # the same again, as when a module is reloaded
    with pytest.raises(ConfigurationError, match=r"'thing' is taken by .*Thing: choose another"):
        register("query", "thing")(lambda: None)
    register("label", "thing")(lambda: None)  # another kind


def test_an_unknown_kind() -> None:
    with pytest.raises(UnknownNameError, match=r"'qeury'.*did you mean 'query'"):
        register("qeury", "x")
    with pytest.raises(UnknownNameError, match="kind of component"):
        components("x")
    with pytest.raises(UnknownNameError, match="kind of component"):
        find("x", "y")


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("query", "margn", "margin"), ("metrology", "f_1", "f1"), ("label", "orcale", "oracle")],
)
def test_an_unknown_name_suggests_the_nearest(kind: str, name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{near}'"):
        find(kind, name)


def test_a_name_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match=r"known are: ledger, memory"):
        find("queue", "zzzzzz")


def test_components_are_sorted_and_of_one_kind() -> None:
    names = [c.name for c in components("query")]
    assert names == sorted(names)
    assert {"random", "least_confidence", "margin", "entropy", "distance_to_boundary"} <= set(names)
    assert {c.kind for c in components()} <= set(registry.KINDS)


def test_entry_points(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, shadowed = EntryPoint("mine", Thing), EntryPoint("margin", Thing)
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group: [mine, shadowed] if group == "querist.query" else [],
    )
    monkeypatch.setattr(registry, "_discovered", False)
    assert find("query", "mine") is Thing
    assert find("query", "margin") is not Thing, "a plug-in took a built-in's name"
    assert build("query", "mine", {"size": 3}).size == 3
    assert mine.loaded == 1


def test_what_another_process_finds_too(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    register("query", "here only")(Thing)
    assert not found_elsewhere("query", "here only")
    assert found_elsewhere("query", "margin")
    assert found_elsewhere("query", "examples.two_moons.model:MoonClassifier")
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("here only", Thing)])
    assert found_elsewhere("query", "here only")
    with pytest.raises(UnknownNameError, match="no query component named 'nowhere'"):
        found_elsewhere("query", "nowhere")


def test_discovery_that_failed_is_tried_again(empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("mine", ImportError("no module named x"))
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [broken] if group == "querist.query" else []
    )
    monkeypatch.setattr(registry, "_discovered", False)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"'mine'.*no module named x"):
            find("query", "margin")
    broken.target = Thing
    assert find("query", "mine") is Thing


def test_discovery_reaches_itself_while_it_imports(
    empty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Curious(EntryPoint):
        def load(self) -> Any:
            assert find("query", "margin")
            return super().load()

    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group: [Curious("mine", Thing)] if group == "querist.query" else [],
    )
    monkeypatch.setattr(registry, "_discovered", False)
    assert find("query", "mine") is Thing


def test_options_are_checked_before_anything_is_built(empty: Any) -> None:
    register("query", "thing")(Thing)
    check_options("query", "thing", {"size": 1})
    with pytest.raises(UnknownNameError, match=r"option of query 'thing'.*'colour'"):
        check_options("query", "thing", {"size": 1, "color": "x"})
    with pytest.raises(ConfigurationError, match=r"needs the option 'size'"):
        check_options("query", "thing", {})
    register("query", "free")(lambda **anything: anything)
    assert build("query", "free", {"whatever": 1}) == {"whatever": 1}


def test_a_refusal_of_torch_in_several_lines(empty: Any) -> None:
    register("query", "thing")(Thing)
    with pytest.raises(ConfigurationError, match="refused its options: size 13 is bad luck"):
        build("query", "thing", {"size": 13})


def test_our_own_errors_keep_their_kind(empty: Any) -> None:
    def unusable() -> None:
        raise DataError("no data")

    register("pool", "unusable")(unusable)
    with pytest.raises(DataError, match="^no data$"):
        build("pool", "unusable", {})


@pytest.mark.parametrize(
    ("size", "words"),
    [(-1, "at least 0"), ("x", "not supported"), (10**10, "too large"), (None, "not supported")],
)
def test_options_that_the_component_refuses(empty: Any, size: Any, words: str) -> None:
    register("query", "thing")(Thing)
    with pytest.raises(ConfigurationError, match=f"query 'thing' refused its options: .*{words}"):
        build("query", "thing", {"size": size})


@pytest.mark.parametrize("path", ["os:system", "subprocess:run", "builtins:exec", "shutil:rmtree"])
def test_other_packages_are_refused(path: str) -> None:
    with pytest.raises(ForbiddenImportError, match=rf"{ALLOWED_PACKAGES_VARIABLE}="):
        check_import_path(path)


@pytest.mark.parametrize(
    "path",
    ["examples._hidden:x", "examples.two_moons.model:_x", "examples:__builtins__.eval",
     "querist.registry:register.__globals__", "querist.registry:_components"],
)  # fmt: skip
def test_private_names_are_refused(path: str) -> None:
    with pytest.raises(ForbiddenImportError, match="private"):
        import_object(path)


@pytest.mark.parametrize(
    "path",
    ["examples.queue_style.moons:json.loads", "querist.pools.check:hashlib.sha256",
     "querist.training.optimizers:sys.exit", "querist.learners.sklearn_learner:zipfile.ZipFile",
     "querist.learners.sklearn_learner:io.open", "querist.training.optimizers:sys.modules.clear"],
)  # fmt: skip
def test_other_packages_are_refused_when_reached_through_an_allowed_one(path: str) -> None:
    with pytest.raises(ForbiddenImportError, match="is not allowed|names no module"):
        import_object(path)


@pytest.mark.parametrize(
    "path",
    ["querist.storage.atomic:write_file", "querist.deployments.embedded_server:EmbeddedServer",
     "querist.registry:os.system", "querist.ledger:Ledger", "querist:registry.import_object",
     "querist.poolsx:y"],
)  # fmt: skip
def test_of_querist_itself_only_what_components_are_made_of(path: str) -> None:
    with pytest.raises(ForbiddenImportError, match="is not allowed"):
        check_import_path(path)


def test_the_operator_allows_a_part_of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_PACKAGES_VARIABLE, "wsgiref.util")
    assert import_object("wsgiref.util:is_hop_by_hop")("upgrade")
    for path in ("wsgiref.simple_server:make_server", "wsgiref:util", "wsgiref.utility:x"):
        with pytest.raises(ForbiddenImportError, match="is not allowed"):
            import_object(path)
    with pytest.raises(ForbiddenImportError, match="importing from 'posixpath' is not allowed"):
        import_object("wsgiref.util:posixpath.join")


@pytest.mark.parametrize(
    "error", [KeyError("k"), AttributeError("a"), MemoryError(), OSError(2, "x")]
)
def test_whatever_an_option_causes_is_a_refusal(empty: Any, error: Exception) -> None:
    def broken() -> None:
        raise error

    register("query", "broken")(broken)
    with pytest.raises(ConfigurationError, match=type(error).__name__) as refused:
        build("query", "broken", {})
    assert refused.value.__cause__ is error


@pytest.mark.parametrize(
    "path", ["querist.randomness:torch.manual_seed", "querist.pools.digits:np.save"]
)
def test_objects_that_do_not_say_where_they_are_from(path: str) -> None:
    with pytest.raises(ForbiddenImportError):
        import_object(path)


@pytest.mark.parametrize(
    "path", ["querist.randomness:torch.rand", "querist.pools.digits:np.random.seed"]
)
def test_functions_of_c_extensions_are_refused_in_words(path: str) -> None:
    with pytest.raises(ConfigurationError):
        import_object(path)


@pytest.mark.parametrize(
    "path", ["a:b:c", ":x", "examples:", "a b:c", "examples.:x", "ex..a:b", "ä:b"]
)
def test_what_is_no_import_path(path: str) -> None:
    with pytest.raises(ConfigurationError, match="package.module:attribute"):
        check_import_path(path)


def test_the_operator_allows_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ForbiddenImportError):
        find("pool", "colorsys:rgb_to_hsv")
    monkeypatch.setenv(ALLOWED_PACKAGES_VARIABLE, " fractions, colorsys ,")
    assert find("pool", "colorsys:rgb_to_hsv").__name__ == "rgb_to_hsv"
    assert import_object("fractions:Fraction.from_float")(0.5) == 0.5
    with pytest.raises(ForbiddenImportError):
        find("pool", "json:loads")


def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        import_object("examples.nothing:x")
    with pytest.raises(UnknownNameError, match=r"did you mean 'MoonClassifier'"):
        import_object("examples.two_moons.model:MoonClasifier")
    monkeypatch.setenv(ALLOWED_PACKAGES_VARIABLE, "a_package_that_is_not_there")
    with pytest.raises(ConfigurationError, match="or install it"):
        import_object("a_package_that_is_not_there:x")


def test_a_module_that_fails_while_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    (tmp_path / "misspelt_plugin.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(ALLOWED_PACKAGES_VARIABLE, "broken_plugin,misspelt_plugin")
    for name, words in (
        ("broken_plugin", "division by zero"),
        ("misspelt_plugin", "invalid syntax"),
    ):
        with pytest.raises(ConfigurationError, match=words) as error:
            import_object(f"{name}:x")
        assert error.value.__cause__ is not None


def test_what_is_not_callable() -> None:
    with pytest.raises(ConfigurationError, match="not callable"):
        find("pool", "querist.pools.check:CHUNK")


def test_a_refused_path_imports_nothing() -> None:
    code = """
import sys
from querist.errors import ConfigurationError
from querist.registry import build, find
imported = []
sys.addaudithook(lambda event, args: imported.append(args[0]) if event == "import" else None)
for path in ("antigravity:x", "this:s", "wsgiref.simple_server:main", "examples._x:y", "a:b:c"):
    for attempt in (lambda: find("pool", path), lambda: build("learner", path, {})):
        try:
            attempt()
        except ConfigurationError:
            pass
        else:
            raise SystemExit(path)
assert not {"antigravity", "this", "wsgiref"} & set(sys.modules), "in sys.modules"
assert not imported, imported
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
