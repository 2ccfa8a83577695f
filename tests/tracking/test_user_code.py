"""Finding user code: the package, all of it, nothing but it, and without importing it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from querist.tracking.user_code import copy_user_code, find_user_code


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "project"
    files = {
        "plug_in/__init__.py": "raise RuntimeError('imported')",
        "plug_in/model.py": "raise RuntimeError('imported')",
        "plug_in/data/table.csv": "1,2",
        "plug_in/__pycache__/model.cpython-311.pyc": "",
        "plug_in/active_learning_logs/x/ledger.db": "",
        "plug_in/.git/config": "",
        "space/one/__init__.py": "",
        "space/one/model.py": "",
        "space/two/__init__.py": "",
        "space/lonely.py": "",
        "single_file.py": "",
        "secrets.txt": "",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    monkeypatch.chdir(home)
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "plug_in,space,single_file,nowhere,yaml,json")
    return home


def copied(project: Path, *paths: str) -> list[str]:
    code = find_user_code({"learner": {"name": paths[0]}, "more": [{"deep": p} for p in paths[1:]]})
    into = project.parent / "copied"
    top = copy_user_code(code, into)
    assert all(path.parent == into for path in top)
    return sorted(str(p.relative_to(into)) for p in into.rglob("*") if p.is_file())


def test_a_package_is_copied_whole_and_alone(project: Path) -> None:
    found = copied(project, "plug_in.model:Net")
    assert found == ["plug_in/__init__.py", "plug_in/data/table.csv", "plug_in/model.py"]
    assert "plug_in" not in sys.modules


def test_of_a_namespace_only_the_part_that_is_named(project: Path) -> None:
    assert copied(project, "space.one.model:Net") == ["space/one/__init__.py", "space/one/model.py"]


def test_modules_that_stand_alone(project: Path) -> None:
    found = copied(project, "single_file:Net", "space.lonely:Net")
    assert found == ["single_file.py", "space/lonely.py"]


def test_installed_code_is_a_requirement(project: Path) -> None:
    code = find_user_code(["yaml:SafeLoader", "json:loads"])
    assert code.folders == ()
    assert [r.partition("==")[0].lower() for r in code.requirements] == ["pyyaml"]
    assert code.packages == ("json", "yaml")


def test_learners_of_an_extra_bring_its_package(project: Path) -> None:
    pytest.importorskip("transformers", reason="the extra `transformers` is not there")
    learner = {"name": "hf_sequence_classifier", "options": {"config": {"model_type": "bert"}}}
    code = find_user_code({"learner": learner})
    assert [r.partition("==")[0] for r in code.requirements] == ["transformers"]
    assert (code.folders, code.packages) == ((), ())
    assert find_user_code({"learner": {"name": "sklearn"}}).requirements == ()


def test_querist_itself_and_what_is_not_allowed_stay_out(project: Path) -> None:
    code = find_user_code({"a": "querist.pools:digits", "b": "os:system", "c": "cuda:0", "d": 1})
    assert (code.folders, code.requirements, code.packages, code.missing) == ((), (), (), ())


def test_what_is_not_there_is_named(project: Path) -> None:
    code = find_user_code(["nowhere.model:Net", "space.three:Net"])
    assert code.missing == ("nowhere", "space")
    assert code.packages == ("nowhere", "space")
