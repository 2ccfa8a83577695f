"""A new database appears whole, and is made by one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from querist.tracking.new_database import make_database


def test_it_is_made_once_however_many_begin(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("tables")

    path = tmp_path / "new" / "mlflow.db"
    threads = [threading.Thread(target=make_database, args=(path, make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.name for p in made] == ["mlflow.db.new"]
    assert path.read_text() == "tables"


def test_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"

    def fails(beside: Path) -> None:
        beside.write_text("half")
        beside.with_name(beside.name + "-journal").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_database(path, fails)
    assert not path.exists()

    def works(beside: Path) -> None:
        assert not list(tmp_path.glob("*.new*"))
        beside.write_text("tables")

    make_database(path, works)
    assert path.read_text() == "tables"
