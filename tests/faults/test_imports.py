"""Row 23: what is refused was never imported, executed or connected to."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from querist.config.load import build_experiment, merge
from querist.errors import CheckpointError, DataError, QueristError
from querist.learners.sklearn_learner import STATE, SklearnLearner
from querist.registry import build
from querist.runs.checkpoints import read_checkpoint
from querist.storage.atomic import sha256
from querist.training.weights import TRAINING_STATE, WEIGHTS, state_from_bytes
from tests.shared.runs import BASE

REPOSITORY = Path(__file__).parents[2]
WITNESSES = ("antigravity", "this", "wsgiref", "turtle", "idlelib", "examplesevil")
"""Modules that nothing of ours imports; a refused path must not be the first to."""

PATHS = [
    "os:system", "builtins:eval", "builtins:exec", "subprocess:run", "subprocess:Popen",
    "posix:system", "pickle:loads", "marshal:loads", "importlib:import_module", "runpy:run_path",
    "code:interact", "pty:spawn", "shutil:rmtree", "socket:create_connection", "ctypes:CDLL",
    "torch:load", "torch.hub:load", "numpy:load", "joblib:load", "pandas:read_pickle",
    "mlflow.pyfunc:load_model", "sklearn.utils:all_estimators", "webbrowser:open",
    "antigravity:fly", "this:s", "wsgiref.simple_server:make_server", "turtle:done", "idlelib:x",
    "examplesevil:x", "examplesevil.two_moons.data:moons_pool", "examples_evil:x",
    "examples..two_moons.data:x", "examples.:x", ".examples:x", "..os:system", "examples:",
    ":system", "examples.two_moons..:x", "examples/../os:system",
    "examples.two_moons.data:os:system",
    "examples.two_moons.data:moons_pool.__globals__", "examples.two_moons.data:__builtins__.eval",
    "examples.two_moons.data:moons_pool.__class__", "examples.two_moons.data:torch.load",
    "examples.two_moons.data:torch.hub.load",
    "examples.two_moons.data:torch.serialization.os.system",
    "examples.two_moons.data:TensorPool.__init__.__globals__", "examples.two_moons.data:torch",
    "examples.two_moons:data._x", "examples._private:x", "examples.__main__:x", "__main__:x",
    "querist:x", "querist.registry:import_object", "querist.registry:os.system",
    "querist.storage.atomic:write_file", "querist.deployments.embedded_server:EmbeddedServer",
    "querist.runs.tracking:subprocess.run", "querist.ledger:Ledger", "querist.config:read_yaml",
    "querist.poolsevil:x", "queristevil:x", "querist.pools.check:hashlib.new",
    "querist.pools.npy:np.load", "querist.training.loop:torch.load",
    "querist.learners.sklearn_learner:zipfile.ZipFile", "querist.training.optimizers:sys.exit",
    " os:system", "os:system ", "os :system", "OS:SYSTEM", "os\n:system", "o\u017f:system",
    "\uff4f\uff53:system", "os\uff1asystem", "os.system", "eval", "__import__('os')", "os:system()",
    "!!python/name:os.system", "lambda: 0", "examples.two_moons.data:moons_pool\n",
    "file:///etc/passwd", "http://127.0.0.1:9/x", "py:os.system", "a" * 150 + ":x",
]  # fmt: skip


def at(place: str, path: str) -> dict[str, Any]:
    """The small experiment with `path` named at one of its places."""
    criterion = {"name": "any_of", "options": {"criteria": [{"name": path}]}}
    changes: dict[str, Any] = {
        "pool": {"data": {"pool": path}},
        "initial pool": {"data": {"initial": None}},
        "unlabeled": {"data": {"unlabeled": path}},
        "learner": {"learner": {"name": path, "options": {"command": "touch pwned"}}},
        "loop": {"training": {"loop": path}},
        "step": {"training": {"train_step_fn": path}},
        "optimizer": {"training": {"optimizer": path}},
        "scheduler": {"training": {"scheduler": path}},
        "query": {"strategies": {"query": path}},
        "label": {"strategies": {"label": path}},
        "metrology": {"strategies": {"metrology": [path]}},
        "queue": {"strategies": {"queue": path}},
        "stop": {"stop": path},
        "inner stop": {"stop": criterion},
        "schedule": {"schedules": {"name": path, "group": "training"}},
        "schedule function": {
            "schedules": {
                "name": "adaptive",
                "group": "training",
                "options": {"settings": {"batch_size": {"function": path}}},
            }
        },
        "gate": {"gate": path},
    }
    content = merge(BASE, changes[place])
    if place == "initial pool":
        content["data"] = {**BASE["data"], "initial": {"pool": path}}
    return content


PLACES = ("pool", "initial pool", "unlabeled", "learner", "loop", "step", "optimizer", "scheduler",
          "query", "label", "metrology", "queue", "stop", "schedule",
          "schedule function", "gate")  # fmt: skip


def named_cases() -> list[dict[str, Any]]:
    """Every path at two places, by turns, so that every place is tried several times."""
    cases = []
    for number, path in enumerate(PATHS):
        for step in (0, 7):
            place = PLACES[(number + step) % len(PLACES)]
            cases.append({"kind": "python", "content": at(place, path)})
        overrides = [f"strategies.query={json.dumps(path)}"]
        cases.append({"kind": "override", "content": BASE, "overrides": overrides})
    for path in PATHS:
        if ":" in path:
            options: dict[str, Any] = {"function": path}
            cases.append(
                {"kind": "build", "component": "label", "name": "callable", "options": options}
            )
    inner = {"criteria": [{"name": "os:system", "options": {"command": "touch pwned"}}]}
    for name in ("any_of", "all_of"):
        cases.append({"kind": "build", "component": "stop", "name": name, "options": inner})
    return cases


TAGS = [
    "!!python/object/apply:os.system ['touch pwned']", "!!python/object/new:os.system ['x']",
    "!!python/object:subprocess.Popen {args: x}", "!!python/name:os.system ''",
    "!!python/module:antigravity ''", "!!python/object/apply:builtins.eval ['1']",
    "!!python/tuple [1]", "!!python/bytes 'x'", "!!python/complex 1j", "!os.system x", "!x y",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['x']",
    "!!python/object/apply:time.sleep [9]",
    "!!java.lang.Runtime {}", "!ruby/object:Gem::Installer {}", "!include /etc/passwd",
    "{__class__: os.system}", "{__reduce__: [os.system, [x]]}", "{__prefect_type__: os:system}",
    "{'py/object': os.system}", "{__class__: {data: 'querist:x'}, __args__: [1]}",
    "{$ref: 'file:///etc/passwd'}",
]  # fmt: skip


def tag_cases() -> list[dict[str, Any]]:
    return [
        {"kind": "yaml", "text": text}
        for tag in TAGS
        for text in (
            f"name: {tag}\n",
            f"name: x\ndata: {{pool: {tag}}}\nlearner: sklearn\nstrategies: {{query: margin}}\n",
            f"{tag}\n",
        )
    ]


def watched(cases: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What happened while the cases were refused in a process of its own."""
    (folder / "examplesevil.py").write_text("open('pwned', 'w')\n")
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "faults" / "refused_imports.py")],
        input=json.dumps(cases),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(folder)])},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# A module that is on the allow-list may be imported to see what it holds.
LOOKED_INTO = ("examples.", "querist.")


@pytest.mark.parametrize("cases", [named_cases(), tag_cases()], ids=["names", "tags"])
def test_refused_configurations_do_nothing(
    cases: list[dict[str, Any]],
    tmp_path: Path,
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    tried(23, len(cases))
    found = watched(cases, tmp_path)
    for result in found["results"]:
        assert result["outcome"] != "accepted", result
        assert "\n" not in result["outcome"], result
        assert not result["seen"], result
        survived(23)
    assert found["new"] == []
    assert not {m.partition(".")[0] for m in found["modules"]} & set(WITNESSES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["examplesevil.py"]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def bombs(path: Path) -> dict[str, bytes]:
    bomb = Bomb(path)
    files = {f"protocol {p}": pickle.dumps(bomb, protocol=p) for p in range(6)}
    out = io.BytesIO()
    torch.save({"optimizer": bomb}, out)
    files["torch"] = out.getvalue()
    out = io.BytesIO()
    torch.save(bomb, out, _use_new_zipfile_serialization=False)
    files["torch, old format"] = out.getvalue()
    out = io.BytesIO()
    np.save(out, np.array([bomb], dtype=object), allow_pickle=True)
    files["npy"] = out.getvalue()
    out = io.BytesIO()
    np.savez(out, a=np.array([bomb], dtype=object))
    files["npz"] = out.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        node = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode",
                "__id__": 1, "content": "x"}  # fmt: skip
        archive.writestr("schema.json", json.dumps({**node, "protocol": 2, "_skops_version": "1"}))
    files["skops"] = out.getvalue()
    files["nothing"] = b""
    files["text"] = b"cos\nsystem\n(S'touch pwned'\ntR."
    return files


KINDS = ("protocol 0", "protocol 1", "protocol 2", "protocol 3", "protocol 4", "protocol 5",
         "torch", "torch, old format", "npy", "npz", "skops", "nothing", "text")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["features", "targets"])
def test_pickles_as_data(
    kind: str,
    where: str,
    tmp_path: Path,
    tried: Callable[..., None],
    survived: Callable[..., None],
) -> None:
    tried(23)
    good, bad, made = tmp_path / "good.npy", tmp_path / "bad.npy", tmp_path / "pwned"
    np.save(good, np.zeros(3))
    bad.write_bytes(bombs(made)[kind])
    options = {"features": str(good), where: str(bad)}
    with pytest.raises(DataError, match=rf"^{where} of the pool"):
        build("pool", "npy", options)
    assert not made.exists()
    survived(23)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", KINDS)
def test_pickles_as_checkpoints(
    kind: str, tmp_path: Path, tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    tried(23, 4)
    made = tmp_path / "pwned"
    bomb = bombs(made)[kind]
    # Whoever planted it has put its hash into the manifest, too.
    for name in (WEIGHTS, TRAINING_STATE, STATE):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(bomb)
        (folder / "manifest.json").write_text(json.dumps({"files": {name: sha256(bomb)}}))
        files, _ = read_checkpoint(folder)
        assert files == {name: bomb}
        assert refused_by(name, bomb), name
        assert not made.exists()
        survived(23)
    (folder / "manifest.json").write_bytes(bomb)
    with pytest.raises(CheckpointError):
        read_checkpoint(folder)
    assert not made.exists()
    survived(23)


def refused_by(name: str, content: bytes) -> bool:
    """Whether what reads a file of that name refuses it, in whatever words."""
    from sklearn.linear_model import LogisticRegression

    from querist.training.weights import weights_from_bytes

    readers: dict[str, Callable[[], Any]] = {
        WEIGHTS: lambda: weights_from_bytes(torch.nn.Linear(1, 1), content),
        TRAINING_STATE: lambda: state_from_bytes(content),
        STATE: lambda: SklearnLearner(LogisticRegression(), classes=2).load_state_files(
            {STATE: content}
        ),
    }
    try:
        readers[name]()
    except (QueristError, ValueError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        return bool(str(error)) or True
    except Exception as error:  # safetensors has errors of its own
        return type(error).__module__.startswith(("safetensors", "builtins"))
    return False


def test_a_hash_is_checked_before_anything_is_parsed(tmp_path: Path) -> None:
    bomb = bombs(tmp_path / "pwned")["torch"]
    (tmp_path / TRAINING_STATE).write_bytes(bomb)
    manifest = {"files": {TRAINING_STATE: "0" * 64}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path)


def test_only_named_types_are_in_a_stored_estimator(
    tried: Callable[..., None], survived: Callable[..., None]
) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from querist.errors import LearnerError

    for function in (np.testing.assert_equal, np.save, os.system, torch.load, subprocess.run):
        tried(23)
        bad = make_pipeline(FunctionTransformer(function), LogisticRegression())
        learner = SklearnLearner(LogisticRegression(), classes=2)
        with pytest.raises(LearnerError, match=r"may not bring types|no estimator"):
            learner.load_state_files({STATE: skops.io.dumps(bad)})
        learner._fitted = bad
        with pytest.raises(LearnerError, match="known to be safe"):
            learner.state_files()
        survived(23)


def test_an_allowed_path_is_accepted() -> None:
    assert build_experiment(at("pool", "examples.two_moons.data:moons_pool"))
