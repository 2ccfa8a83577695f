from __future__ import annotations

import json
import math

from querist.values import Check, Verdict
from querist.verdicts import outcome, verdict_markdown, verdict_rows

WON = Check("f1", 0.7, 0.8, 0.05, True, "f1 0.8 is higher than 0.7", 0.02, 0.18, gain=0.1)
LOST = Check("log_loss", 0.5, 0.6, 0.0, False, "log_loss is not lower", gain=-0.1)
BROKEN = Check("mine | <b>", None, math.nan, 0.0, False, "the challenger's\nnumber is nan")
ALLOWED = Check("f1 (site north)", 0.7, 0.69, -0.02, True, "is not worse", gain=-0.01, judged=False)
WORSE = Check("f1 (site south)", 0.7, 0.6, -0.02, False, "is worse", gain=-0.1, judged=False)
SMALL = Check("f1 (site tiny)", 0.7, 0.6, 0.0, False, "a slice of 3 samples", judged=False)
CHECKS = (WON, LOST, BROKEN, ALLOWED, WORSE, SMALL)


def test_outcomes_in_a_word() -> None:
    words = ["won", "lost", "lost", "allowed", "too much worse", "shown"]
    assert [outcome(check) for check in CHECKS] == words


def test_rows_are_json() -> None:
    rows = verdict_rows(Verdict(False, "no", CHECKS))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[0] == {
        "sub-comparison": "f1",
        "champion": 0.7,
        "challenger": 0.8,
        "gain": 0.1,
        "needed gain": 0.05,
        "gain from": 0.02,
        "gain to": 0.18,
        "outcome": "won",
        "reason": "f1 0.8 is higher than 0.7",
    }
    assert (rows[2]["champion"], rows[2]["challenger"]) == (None, "nan")


def test_markdown_is_a_table_whatever_names_hold() -> None:
    lines = verdict_markdown(Verdict(False, "it *lost*", CHECKS), "digits, version 3").splitlines()
    assert lines[:4] == ["### digits, version 3", "", "**discard**: it \\*lost\\*", ""]
    table = lines[4:]
    assert len(table) == 2 + len(CHECKS)
    columns = {line.replace("\\|", "").count("|") for line in table}
    assert columns == {9}
    assert table[2] == (
        "| f1 | 0.7 | 0.8 | 0.1 | 0.02 to 0.18 | > 0.05 | won | f1 0.8 is higher than 0.7 |"
    )
    assert "the challenger's number is nan |" in table[4]
    assert "mine \\| \\<b\\>" in table[4]
    assert "| -0.01 |  |  | allowed |" in table[5]


def test_a_promotion_says_so() -> None:
    assert "**update_model**: better" in verdict_markdown(
        Verdict(True, "better", (WON,))
    ).replace("\\_", "_")  # fmt: skip
