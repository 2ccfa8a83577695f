from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from querist.errors import CommandError, ConfigurationError
from querist.pools import Scripts


@pytest.fixture(autouse=True)
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")
    (tmp_path / "start").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    return tmp_path / "start"


def begun(code: str | None, work: Path, **options: Any) -> Scripts:
    initial = None if code is None else {"argv": ["python", "-c", code]}
    pool = Scripts(initial, **options)
    pool.work_in(work)
    pool.begin()
    return pool


@pytest.mark.parametrize(
    ("said", "items"),
    [("print(0.5)", [0.5]), ("print([1, 2])", [1, 2]), ("print('done')", [None]), ("", [None]),
     ("print('{\"a\": 1}')", [{"a": 1}])],
)  # fmt: skip
def test_what_the_initial_command_says(said: str, items: list[Any], tmp_path: Path) -> None:
    pool = begun(said, tmp_path / "run" / "work")
    assert [pool[i] for i in range(len(pool))] == items
    again = Scripts()
    again.begin_with(items)
    again.append(7)
    assert again[len(items)] == 7
    assert len(again) == len(items) + 1


def test_files_are_copied_first(tmp_path: Path, start: Path) -> None:
    (start / "sub").mkdir()
    (start / "sub" / "a.txt").write_text("7")
    pool = begun("print(open('sub/a.txt').read())", tmp_path / "run" / "work", files=["sub/a.txt"])
    assert pool[0] == 7
    for name in ("../x", "/etc/hostname", "missing"):
        with pytest.raises(ConfigurationError, match="file"):
            Scripts(files=[name])
    (start / "link").symlink_to("/etc/hostname")
    with pytest.raises(ConfigurationError, match="leads through a link"):
        Scripts(files=["link"])
    with pytest.raises(ConfigurationError, match="files is a list"):
        Scripts(files="a")


def test_an_initial_command_that_fails(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="exit code 3"):
        begun("exit(3)", tmp_path / "run" / "work")
    assert len(begun(None, tmp_path / "run" / "work")) == 0
