"""The spool: in order, whole lines only, readable while it is written."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from querist.errors import StorageError
from querist.protocols import Spool
from querist.storage.store import Store, stored_by
from querist.tracking.spool import SPOOL_FILE, SpoolReader, TrackingSpool, spool_id


def test_events_come_back_in_order_with_what_json_does_not_know(tmp_path: Path) -> None:
    spool: Spool = TrackingSpool(tmp_path)
    spool.append("metrics", step=1, values={"a": math.nan, "b": math.inf, "c": np.float32(0.5)})
    spool.append(
        "tags", values={"folder": Path("x/y"), "t": torch.tensor([1, 2]), "u": "é\n\ud800"}
    )
    first, second = TrackingSpool(tmp_path).events()
    assert (first.seq, first.kind, second.seq, second.kind) == (1, "metrics", 2, "tags")
    assert math.isnan(first.payload["values"]["a"])
    assert first.payload["values"]["b"] == math.inf
    assert first.payload["values"]["c"] == 0.5
    assert second.payload["values"] == {"folder": "x/y", "t": [1, 2], "u": "é\n\ud800"}
    assert first.time <= second.time
    assert [e.seq for e in TrackingSpool(tmp_path).events(after_seq=1)] == [2]
    assert spool.folder == tmp_path


def test_seq_goes_on_when_the_spool_is_opened_again(tmp_path: Path) -> None:
    for _ in range(3):
        spool = TrackingSpool(tmp_path)
        spool.append("tags", values={})
        spool.close()
        spool.append("tags", values={})
        spool.close()
    assert [e.seq for e in spool.events()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("torn", [b'{"seq": 3, "time": 1.0, "ki', b"\x00\x00\x00", b"\xff"])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    spool = TrackingSpool(tmp_path)
    spool.append("tags", values={"a": 1})
    spool.append("tags", values={"b": 2})
    spool.close()
    with (tmp_path / SPOOL_FILE).open("ab") as file:
        file.write(torn)
    assert [e.seq for e in spool.events()] == [1, 2]
    TrackingSpool(tmp_path).append("tags", values={"c": 3})
    assert [e.payload["values"] for e in spool.events()] == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_a_damaged_line_in_the_middle_is_counted_and_passed_over(tmp_path: Path) -> None:
    spool = TrackingSpool(tmp_path)
    spool.append("tags", values={})
    spool.close()
    with (tmp_path / SPOOL_FILE).open("ab") as file:
        file.write(b"not json\n[1]\n")
    TrackingSpool(tmp_path).append("end", status="FINISHED")
    reader = SpoolReader(tmp_path)
    assert [(e.seq, e.kind) for e in reader.read()] == [(1, "tags"), (2, "end")]
    assert reader.damaged == 2


def test_a_reader_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    reader = SpoolReader(tmp_path)
    assert reader.read() == []
    TrackingSpool(tmp_path).append("tags", values={})
    line = (tmp_path / SPOOL_FILE).read_bytes()
    (tmp_path / SPOOL_FILE).write_bytes(line[:-5])
    assert reader.read() == []
    (tmp_path / SPOOL_FILE).write_bytes(line)
    assert [e.seq for e in reader.read()] == [1]
    assert reader.read() == []


def test_events_outlive_a_killed_writer(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib; from querist.tracking.spool import TrackingSpool\n"
        f"spool = TrackingSpool(pathlib.Path({str(tmp_path)!r}))\n"
        "for i in range(100): spool.append('metrics', step=i, values={})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert [e.payload["step"] for e in TrackingSpool(tmp_path).events()] == list(range(100))


def test_an_event_with_a_name_is_there_once(tmp_path: Path) -> None:
    spool, beside = TrackingSpool(tmp_path), TrackingSpool(tmp_path)
    assert not spool.has("m 0")
    assert not (tmp_path / SPOOL_FILE).exists()
    spool.append("metrics", once="m 0", at=12.5, step=0, values={"f1": 0.5})
    spool.append("metrics", once="m 0", step=0, values={"f1": 0.75})
    spool.append("metrics", once="m 1", step=1, values={})
    spool.append("tags", values={})
    spool.append("tags", values={})
    beside.append("metrics", once="m 1", step=1, values={})
    spool.close()
    TrackingSpool(tmp_path).append("metrics", once="m 0", step=0, values={})
    assert [(e.seq, e.once) for e in beside.events()] == [
        (1, "m 0"), (2, "m 1"), (3, None), (4, None),
    ]  # fmt: skip
    first = beside.events()[0]
    assert (first.time, first.payload) == (12.5, {"step": 0, "values": {"f1": 0.5}})
    assert spool.has("m 1")
    assert not spool.has("m 2")


def test_an_event_that_a_power_cut_took_may_be_said_again(tmp_path: Path) -> None:
    spool = TrackingSpool(tmp_path)
    spool.append("tags", once="a", values={})
    kept = (tmp_path / SPOOL_FILE).read_bytes()
    spool.append("tags", once="b", values={})
    (tmp_path / SPOOL_FILE).write_bytes(kept)
    spool.append("tags", once="a", values={})
    spool.append("tags", once="b", values={})
    assert [(e.seq, e.once) for e in spool.events()] == [(1, "a"), (2, "b")]


def test_several_writers_do_not_write_over_one_another(tmp_path: Path) -> None:
    """The flow ends a run from another process than the one that carries out its steps."""
    one, other = TrackingSpool(tmp_path), TrackingSpool(tmp_path)
    for i in range(20):
        (one if i % 3 else other).append("metrics", step=i, values={"text": "x" * (i % 7)})
    code = (
        "import pathlib, sys; from querist.tracking.spool import TrackingSpool\n"
        f"spool = TrackingSpool(pathlib.Path({str(tmp_path)!r}))\n"
        "for i in range(300): spool.append('metrics', step=i, values={'by': sys.argv[1]})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    reader = SpoolReader(tmp_path)
    found = reader.read()
    assert reader.damaged == 0
    assert [e.seq for e in found] == list(range(1, 921))
    assert [e.payload["step"] for e in found[:20]] == list(range(20))
    for by in "012":
        mine = [e.payload["step"] for e in found if e.payload["values"].get("by") == by]
        assert mine == list(range(300))


def test_the_status_is_what_the_last_start_or_end_says(tmp_path: Path) -> None:
    spool = TrackingSpool(tmp_path)
    assert spool.status is None
    for kind, more, status in [
        ("tags", {}, None), ("start", {}, "RUNNING"), ("tags", {}, "RUNNING"),
        ("end", {"status": "FAILED"}, "FAILED"), ("start", {}, "RUNNING"),
        ("end", {"status": "FINISHED"}, "FINISHED"), ("tags", {}, "FINISHED"),
    ]:  # fmt: skip
        spool.append(kind, **more)
        assert (spool.status, TrackingSpool(tmp_path).status) == (status, status)


class Refusing(Store):
    """A disk that takes part of a line; one that is broken does not even cut it off again."""

    broken = False

    def write(self, file: BinaryIO, content: bytes) -> None:
        file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def truncate(self, file: BinaryIO, size: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(file, size)


@pytest.mark.parametrize("broken", [False, True])
def test_half_a_line_on_a_full_disk_is_cut_off(tmp_path: Path, broken: bool) -> None:
    spool = TrackingSpool(tmp_path)
    spool.append("tags", once="a", values={})
    refusing = Refusing()
    refusing.broken = broken
    with stored_by(refusing), pytest.raises(StorageError, match="make room or give access"):
        spool.append("tags", once="b", values={})
    assert [e.once for e in TrackingSpool(tmp_path).events()] == ["a"]
    spool.append("tags", once="b", values={"c": 1})
    reader = SpoolReader(tmp_path)
    assert [(e.seq, e.once) for e in reader.read()] == [(1, "a"), (2, "b")]
    assert reader.damaged == 0


def test_what_is_synced_has_its_name_on_the_disk_too(tmp_path: Path) -> None:
    asked: list[str] = []

    class Watched(Store):
        def sync(self, file: BinaryIO) -> None:
            asked.append("file")
            super().sync(file)

        def sync_folder(self, folder: Path) -> None:
            asked.append("folder")
            super().sync_folder(folder)

    spool = TrackingSpool(tmp_path)
    with stored_by(Watched()):
        spool.append("tags", values={})
        assert asked == []
        spool.sync()
        assert asked == ["file", "folder"]
        reader = SpoolReader(tmp_path)
        reader.read()
        reader.sync()
        reader.sync()
        assert asked[2:] == ["file", "folder", "file"]


def test_the_envelope_is_not_for_payloads(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="may not use the key 'seq'"):
        TrackingSpool(tmp_path).append("tags", seq=7)
    assert TrackingSpool(tmp_path).events() == []


def test_a_disk_that_refuses_is_heard_about_and_costs_nothing(tmp_path: Path) -> None:
    code = f"""
import pathlib, resource, signal, sys
from querist.errors import StorageError
from querist.tracking.spool import TrackingSpool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
spool = TrackingSpool(pathlib.Path({str(tmp_path)!r}))
spool.append("tags", values={{"a": 1}})
try:
    spool.append("tags", values={{"a": "x" * 2000}})
except StorageError as error:
    print(error)
spool.append("tags", values={{"b": 2}})
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "cannot be written, File too large: make room or give access" in run.stdout
    found = TrackingSpool(tmp_path).events()
    assert [(e.seq, e.payload["values"]) for e in found] == [(1, {"a": 1}), (2, {"b": 2})]


def test_a_folder_that_cannot_be_made_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="make room or give access"):
        TrackingSpool(tmp_path / "file").append("tags", values={})


def test_spool_id_is_that_of_the_first_line(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert spool_id(one) is None
    for folder in (one, two):
        TrackingSpool(folder).append("start")
    first = spool_id(one)
    TrackingSpool(one).append("end")
    assert first == spool_id(one) != spool_id(two)
    copy = tmp_path / "copy"
    copy.mkdir()
    os.link(one / SPOOL_FILE, copy / SPOOL_FILE)
    assert spool_id(copy) == first
