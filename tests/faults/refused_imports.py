"""Run by test_imports.py in a process of its own: refuses cases, and watches what Python does.

Reads cases from standard input (JSON), writes what was seen as JSON. The audit hook looks only
while a case is refused; whatever is imported lazily for good reasons was imported before.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

FORBIDDEN = ("exec", "compile", "import", "os.system", "os.exec", "os.fork", "os.posix_spawn",
             "os.spawn", "subprocess.Popen", "socket.", "pickle.find_class", "marshal.", "ctypes.",
             "shutil.", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "urllib.", "webbrowser.",
             "ftplib.", "smtplib.", "os.putenv", "code.__new__")  # fmt: skip


def main() -> None:
    from querist import registry
    from querist.config.load import apply_overrides, build_experiment, load_experiment
    from querist.errors import ConfigurationError
    from querist.registry import build
    from querist.runs.open import check_components

    watching = False
    seen: list[str] = []

    def hook(name: str, args: tuple[Any, ...]) -> None:
        # `inspect` parses the signature that a C function has as text.
        signature = name == "compile" and str(args[0]).startswith("b'def foo")
        if watching and name.startswith(FORBIDDEN) and not signature:
            seen.append(f"{name} {str(args)[:200]}")

    def attempt(case: dict[str, Any]) -> None:
        kind = case["kind"]
        if kind == "python":
            check_components(build_experiment(case["content"]))
        elif kind == "yaml":
            check_components(load_experiment(Path(case["file"])))
        elif kind == "override":
            check_components(build_experiment(apply_overrides(case["content"], case["overrides"])))
        elif kind == "build":
            build(case["component"], case["name"], case["options"])
        else:
            raise SystemExit(f"no such kind: {kind}")

    cases = json.load(sys.stdin)
    registry.components()
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases):
            if case["kind"] == "yaml":
                path = Path(folder, f"{number}.yaml")
                path.write_text(case["text"])
                case["file"] = str(path)
        # Once without looking: imports inside functions, model schemas, compiled expressions.
        for case in cases:
            with contextlib.suppress(ConfigurationError):
                attempt(case)
        modules = set(sys.modules)
        sys.addaudithook(hook)
        results = []
        for case in cases:
            seen.clear()
            watching = True
            try:
                attempt(case)
                outcome = "accepted"
            except ConfigurationError as error:
                outcome = str(error)
            finally:
                watching = False
            results.append({"case": case, "outcome": outcome, "seen": list(seen)})
        new = sorted(set(sys.modules) - modules)
    print(json.dumps({"results": results, "new": new, "modules": sorted(sys.modules)}))


if __name__ == "__main__":
    main()
