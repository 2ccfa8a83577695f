"""The spool: in order, whole lines only, readable while it is written."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from querist.errors import StorageError
from querist.protocols import Spool
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
    assert "cannot be written, File too large: make room and resume" in run.stdout
    found = TrackingSpool(tmp_path).events()
    assert [(e.seq, e.payload["values"]) for e in found] == [(1, {"a": 1}), (2, {"b": 2})]


def test_a_folder_that_cannot_be_made_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="check the run's folder"):
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
