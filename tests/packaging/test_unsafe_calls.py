"""Nothing of ours executes what it reads: every call that could is listed here with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("src/querist", "strategies", "tasks", "flows", "deployments", "examples", "benchmarks")

UNSAFE = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.dump",
    "pickle.dumps", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads", "dill.load",
    "dill.loads", "marshal.load", "marshal.loads", "shelve.open", "joblib.load",
    "jsonpickle.decode",
    "torch.load", "torch.hub.load", "torch.jit.load", "torch.export.load", "np.load", "numpy.load",
    "np.fromregex", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "yaml.unsafe_load_all", "yaml.full_load_all", "skops.io.load", "skops.io.loads",
    "pandas.read_pickle", "pd.read_pickle", "runpy.run_path", "runpy.run_module", "os.system",
    "os.popen", "importlib.import_module", "importlib.util.spec_from_file_location",
    "mlflow.pyfunc.load_model", "mlflow.pytorch.load_model", "mlflow.sklearn.load_model",
    "multiprocessing.connection.Client", "multiprocessing.connection.Listener",
}  # fmt: skip
SAFE_WITH = {  # a call with exactly this is safe
    "torch.load": "weights_only=True",
    "np.load": "allow_pickle=False",
    "numpy.load": "allow_pickle=False",
}
LISTED = {
    ("deployments/embedded_server.py", "importlib.import_module"): (
        "parts of Prefect's server, named in the file"
    ),
    ("deployments/execute.py", "importlib.import_module"): "Prefect's engine, named in the file",
    ("deployments/served_flows.py", "importlib.import_module"): (
        "below querist.flows, a name of DESCRIPTIONS in the file"
    ),
    ("src/querist/config/load.py", "yaml.load"): "with _Loader, a safe loader",
    ("src/querist/learners/sklearn_learner.py", "skops.io.loads"): (
        "only types that trusted_types.py names"
    ),
    ("src/querist/registry.py", "importlib.import_module"): (
        "built-ins, and what check_import_path let through"
    ),
    ("src/querist/runs/served_steps.py", "pickle.loads"): (
        "what the line itself has just dumped: whether an error can travel to the parent"
    ),
    ("src/querist/runs/served_steps.py", "pickle.dumps"): "as above",
}


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            inside = path.relative_to(REPOSITORY)
            linked = any((REPOSITORY / part).is_symlink() for part in inside.parents)
            if "__pycache__" not in path.parts and not linked:
                yield path


def aliases(tree: ast.Module) -> dict[str, str]:
    """What the file's imports call things by: `load` -> `pickle.load`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def unsafe(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of each use of something unsafe, a call or not."""
    tree = ast.parse(text)
    names = aliases(tree)
    safe = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            wanted = SAFE_WITH.get(full_name(node.func, names))
            given = {f"{k.arg}={ast.unparse(k.value)}" for k in node.keywords}
            if wanted in given:
                safe.add(id(node.func))
            if any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords):
                yield node.lineno, "shell=True"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in safe:
            name = full_name(node, names)
            if name in UNSAFE and isinstance(node.ctx, ast.Load):
                yield node.lineno, name


def test_no_unsafe_call_that_is_not_listed() -> None:
    found = {
        (str(path.relative_to(REPOSITORY)), name, line)
        for path in sources()
        for line, name in unsafe(path.read_text(encoding="utf-8"))
    }
    assert {(f, n, line) for f, n, line in found if (f, n) not in LISTED} == set()
    assert {(f, n) for f, n, _ in found} == set(LISTED), "remove from the list what is gone"


def test_every_yaml_load_names_the_safe_loader() -> None:
    text = (REPOSITORY / "src/querist/config/load.py").read_text(encoding="utf-8")
    calls = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "yaml.load"
    ]
    assert calls == ["yaml.load(text, _Loader)"]
    import yaml

    from querist.config import load

    assert issubclass(load._Loader, yaml.constructor.SafeConstructor)
    assert not issubclass(load._Loader, yaml.constructor.FullConstructor)


@pytest.mark.parametrize(
    "text",
    ["import pickle\npickle.loads(x)", "from pickle import loads\nloads(x)", "eval('1')",
     "import pickle as p\np.load(f)", "from torch import load as get\nget(f)",
     "import torch\ntorch.load(f)", "import torch\ntorch.load(f, weights_only=False)",
     "import torch\ntorch.load(f, weights_only=flag)", "import numpy as np\nnp.load(f)",
     "import numpy as np\nnp.load(f, allow_pickle=True)", "import yaml\nyaml.unsafe_load(f)",
     "f = exec", "import subprocess\nsubprocess.run('x', shell=True)",
     "import joblib\nread = joblib.load"],
)  # fmt: skip
def test_the_walk_finds_them(text: str) -> None:
    assert list(unsafe(text))


@pytest.mark.parametrize(
    "text",
    ["import torch\ntorch.load(f, weights_only=True)", "import re\nre.compile('x')", "model.eval()",
     "import numpy as np\nnp.load(f, allow_pickle=False)", "import yaml\nyaml.safe_load(f)"],
)  # fmt: skip
def test_the_walk_finds_nothing_else(text: str) -> None:
    assert not list(unsafe(text))
