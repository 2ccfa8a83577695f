"""Row 21: a name is data or is refused, and never leads out of its folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from querist.config.load import build_experiment, merge
from querist.errors import ConfigurationError, QueristError
from querist.registry import build, find, import_object
from querist.runs import RunReference, close_run, create_run, open_run
from querist.runs.open import list_runs
from tests.shared.runs import BASE, iterate

NAMES = {
    "not UTF-8": os.fsdecode(b"\xff\xfe\x80"),
    "a lone surrogate": "a\ud800b",
    "right to left": "\u202egnp.exe",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd",
    "10 kB": "a" * 10_000,
    "10 kB of emoji": "\U0001f600" * 2_500,
    "NUL": "a\x00b",
    "up": "../../x",
    "up, for Windows": "..\\..\\x",
    "up, after a name": "a/../../../x",
    "absolute": "/tmp/querist-was-here",
    "a drive": "C:\\x",
    "a device of Windows": "CON",
    "a device with an ending": "nul.txt",
    "a dash": "-rf",
    "an option": "--help",
    "a newline": "a\nb",
    "a return": "a\rb",
    "dot": ".",
    "dots": "..",
    "hidden": ".hidden",
    "a dot at the end": "a.",
    "a blank": " ",
    "blanks around": " a ",
    "nothing": "",
    "home": "~/x",
    "a variable": "$HOME",
    "a command": "$(touch pwned)",
    "a formula": "$\\frac{$",
    "a pattern": "*",
    "markup": "<script>alert(1)</script>",
    "braces": "{0.__class__}",
    "percent": "%s%n",
    "a quote": "'; DROP TABLE labels; --",
    "a colour": "\x1b[31m",
    "combining": "e" + "\u0301" * 300,
    "a byte order mark": "\ufeffa",
    "a URL": "file:///etc/passwd",
    "full width": "\uff0e\uff0e\uff0fx",
}


def listing(folder: Path) -> set[str]:
    return {os.fsdecode(p) for p in map(os.fsencode, map(str, folder.rglob("*")))}


@contextmanager
def sandbox() -> Iterator[Path]:
    """A root folder three levels down, with nothing made beside it."""
    with tempfile.TemporaryDirectory() as outer:
        root = Path(outer, "a", "b", "root")
        root.mkdir(parents=True)
        before, here = listing(Path(outer)), os.getcwd()
        os.chdir(root)
        try:
            yield root
        finally:
            os.chdir(here)
        outside = {p for p in listing(Path(outer)) - before if not Path(p).is_relative_to(root)}
        assert not outside
        assert not Path("/tmp/querist-was-here").exists()


def in_our_words(call: Callable[[], Any]) -> Any:
    """What `call` gives; None where it is refused in one line of ours."""
    try:
        return call()
    except QueristError as error:
        message = str(error)
    except ValidationError as error:  # a flow's parameter
        message = error.errors()[0]["msg"]
    assert "\n" not in message
    assert len(message) < 3000  # it may list the known ones
    return None


def in_root(root: Path, **changes: Any) -> Any:
    return merge(merge(BASE, {"driver": {"root_log_dir": str(root)}}), changes)


def as_run_id(name: str, root: Path) -> None:
    in_our_words(lambda: RunReference(run_id=name, root=root))
    in_our_words(lambda: open_run(RunReference.model_construct(run_id=name, root=root)))
    run = in_our_words(lambda: create_run(build_experiment(in_root(root)), name))
    if run is not None:
        close_run(run.reference)
        assert run.reference.folder.parent == root
        assert [r.run_id for r in list_runs(root)] == [run.reference.run_id]
    in_our_words(lambda: build_experiment(in_root(root, driver={"run_id": name})))


def as_experiment_name(name: str, root: Path) -> None:
    from querist.phases import conclude

    changes = {"name": name, "driver": {"max_active_learning_steps": 1}}
    experiment = in_our_words(lambda: build_experiment(in_root(root, **changes)))
    if experiment is None:
        return
    run = create_run(experiment, "x")
    iterate(run, 0)
    conclude(run)
    close_run(run.reference)
    again = open_run(run.reference)
    assert again.experiment.name == name
    close_run(run.reference)


def as_root(name: str, root: Path) -> None:
    changes = {"driver": {"root_log_dir": name}}
    experiment = in_our_words(lambda: build_experiment(merge(BASE, changes)))
    # A root may be anywhere; here only one below this folder is made.
    if experiment is not None and (root / name).resolve().is_relative_to(root):
        run = in_our_words(lambda: create_run(experiment, "x"))
        if run is not None:
            close_run(run.reference)


def as_component(name: str, root: Path) -> None:
    for group in ("learner", "gate", "stop"):
        experiment = in_our_words(lambda group=group: build_experiment({**BASE, group: name}))
        if experiment is not None:
            in_our_words(lambda e=experiment: create_run(e, "x"))
    for kind in ("pool", "label", "query"):
        in_our_words(lambda kind=kind: find(kind, name))
    in_our_words(lambda: import_object(name))
    in_our_words(lambda: import_object(f"examples.{name}:x"))
    in_our_words(lambda: import_object(f"examples.two_moons.data:{name}"))


def as_option(name: str, root: Path) -> None:
    for options in ({name: 1}, {"n": name}, {"n": {name: [name]}}):
        pool = {"pool": {"name": "examples.two_moons.data:moons_pool", "options": options}}
        experiment = in_our_words(lambda pool=pool: build_experiment({**BASE, "data": pool}))
        if experiment is not None:
            in_our_words(lambda e=experiment: create_run(e, "x"))
    for kind, component in (("stop", "plateau"), ("gate", "metric_improvement")):
        in_our_words(lambda k=kind, c=component: build(k, c, {"metric": name}))
    in_our_words(lambda: build("learner", "sklearn", {"estimator": name}))
    in_our_words(lambda: build("label", "callable", {"function": name}))


def as_file(name: str, root: Path) -> None:
    for options in ({"features": name}, {"features": str(root / "good.npy"), "targets": name}):
        in_our_words(lambda options=options: build("pool", "npy", options))


def as_tracking(name: str, root: Path) -> None:
    for key in ("uri", "experiment"):
        in_our_words(lambda key=key: build_experiment({**BASE, "tracking": {key: name}}))


USES = [as_run_id, as_experiment_name, as_root, as_component, as_option, as_file, as_tracking]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_names(
    name: str,
    use: Callable[[str, Path], None],
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    tried(21)
    with sandbox() as root:
        if use is as_file:
            np.save(root / "good.npy", np.zeros((3, 2)))
        use(NAMES[name], root)
    survived(21)


anything = st.text(st.characters(), max_size=80) | st.lists(
    st.sampled_from([".", "..", "/", "\\", "a", "\x00", "\n", "-", ":", "~", " ", "\udcff", "é"]),
    max_size=12,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("use", [as_run_id, as_root, as_component, as_option, as_file])
def test_any_name(
    use: Callable[[str, Path], None],
    tries: Callable[..., int],
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    @settings(
        max_examples=tries(21, 30, 1_000),
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=list(HealthCheck),
    )
    @given(anything)
    def check(name: str) -> None:
        tried(21)
        with sandbox() as root:
            use(name, root)
        survived(21)

    check()


@pytest.mark.parametrize("name", ["..", "a/b", "/etc", "a\x00", "a\n", "\udcff", "a" * 65, ""])
def test_a_run_id_is_refused_in_words(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a run id has 1 to 64 letters"):
        create_run(build_experiment(in_root(tmp_path, driver={"run_id": None})), name or "..")
