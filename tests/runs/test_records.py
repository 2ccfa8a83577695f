from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from querist.runs.records import ConsoleLog, DriverLog, write_metrology


def test_driver_log_has_one_object_a_line(tmp_path: Path) -> None:
    log = DriverLog(tmp_path)
    log.write(0, "train", "start")
    log.write(0, "train", "end", 1.5, loss=0.25)
    lines = [json.loads(line) for line in (tmp_path / "driver_log.json").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "end"]
    assert {"time", "iteration", "phase", "event", "seconds"} <= set(lines[0])
    assert (lines[1]["seconds"], lines[1]["loss"]) == (1.5, 0.25)


def test_a_line_of_the_driver_log_is_json_even_of_numbers_that_json_lacks(tmp_path: Path) -> None:
    DriverLog(tmp_path).write(0, "metrology", "end", 1.5, kappa=math.nan, mse=math.inf, f1=0.5)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    line = json.loads((tmp_path / "driver_log.json").read_text(), parse_constant=refuse)
    assert (line["kappa"], line["mse"], line["f1"]) == (None, None, 0.5)


def test_metrology_files(tmp_path: Path) -> None:
    f1 = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    write_metrology(tmp_path, {1: (60, {**f1, "accuracy": math.nan}), 0: (50, f1)})
    records = json.loads((tmp_path / "f1_metrology.json").read_text())
    assert records[0] == {"step": 0, "num_train_samples": 50, **f1}
    assert [list(r) for r in records] == [
        ["step", "num_train_samples", "precision", "recall", "f1"]
    ] * 2
    everything = json.loads((tmp_path / "metrology.json").read_text())
    assert everything[1]["accuracy"] is None


def test_without_f1_there_is_no_f1_file(tmp_path: Path) -> None:
    write_metrology(tmp_path, {0: (50, {"mse": 1.0})})
    assert not (tmp_path / "f1_metrology.json").exists()
    assert json.loads((tmp_path / "metrology.json").read_text())[0]["mse"] == 1.0


def test_console_log_is_written_while_the_run_is_open(tmp_path: Path) -> None:
    console = ConsoleLog(tmp_path)
    logging.getLogger("querist.phases.train").info("trained on %d labels", 5)
    console.close()
    logging.getLogger("querist.phases.train").info("later")
    text = (tmp_path / "console.log").read_text()
    assert "INFO trained on 5 labels" in text
    assert "later" not in text
