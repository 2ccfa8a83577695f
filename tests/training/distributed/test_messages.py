from __future__ import annotations

import logging
import math
from pathlib import Path

from querist.training.distributed.messages import Hears, Says, SaysLog
from querist.training.job import EpochReport


def test_what_is_said_is_heard_once(tmp_path: Path) -> None:
    hears = Hears(tmp_path / "said")
    assert hears.new() == []
    says = Says(tmp_path / "said")
    report = EpochReport(1, 3, 0.5, None, 100.0, 0.1)
    says.epoch(report)
    ((kind, content),) = hears.new()
    assert kind == "epoch"
    assert EpochReport(**content) == report
    assert hears.new() == []
    says.say("epoch", {"loss": math.nan})
    assert math.isnan(hears.new()[0][1]["loss"])


def test_a_line_that_somebody_died_over(tmp_path: Path) -> None:
    hears = Hears(tmp_path / "said")
    Says(tmp_path / "said").say("a", 1)
    with (tmp_path / "said").open("a") as file:
        file.write('["b", 2')
    assert hears.new() == [("a", 1)]
    Says(tmp_path / "said").say("c", 3)
    assert hears.new() == [("c", 3)]


def test_log_records(tmp_path: Path) -> None:
    logger = logging.getLogger("querist.test_messages")
    handler = SaysLog(Says(tmp_path / "said"))
    logger.addHandler(handler)
    try:
        logger.warning("%d of %d", 1, 2)
        logger.debug("not this")
    finally:
        logger.removeHandler(handler)
    assert Hears(tmp_path / "said").new() == [
        ("log", ["querist.test_messages", logging.WARNING, "1 of 2"])
    ]
