"""The sixth step: champion against challenger, with a verdict in words and numbers."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from typing import Any

from querist.config.compare import CompareConfig
from querist.config.retraining import Retraining
from querist.faults import crash_point
from querist.figures import verdict as draw_verdict
from querist.lineage import Lineage
from querist.protocols import Gate
from querist.registry import build
from querist.retraining.evaluate import evaluation_of
from querist.retraining.track import track_verdict
from querist.storage.atomic import create_folder, taking_turns, write_file
from querist.values import Check, Verdict
from querist.verdicts import verdict_markdown

VERDICT_FILE = "verdict.json"
VERDICT_TEXT = "verdict.md"
VERDICT_FIGURE = "figures/verdict.png"
_log = logging.getLogger(__name__)


def compare(lineage: Lineage, retraining: int) -> dict[str, Any]:
    """Put the new version to the gate; returns the verdict's number, action and reason.

    Raises:
        LeaseLostError: another process has taken the model over.
    """
    done = lineage.ledger.step(retraining, "compare")
    if done is None:
        started = time.time()
        settings = lineage.settings(retraining)
        done = judge(lineage, retraining, settings, settings.compare)
        crash_point("compare.recorded")
        lineage.ledger.record_step(retraining, "compare", done, started)
    show(lineage, retraining, done)
    return done


def judge(
    lineage: Lineage, challenger: int, settings: Retraining, config: CompareConfig
) -> dict[str, Any]:
    """The gate's verdict on a version against the present champion, recorded as evidence."""
    champion = lineage.ledger.champion()
    verdict, digest = verdict_on(lineage, challenger, champion, settings, config)
    crash_point("compare.judged")
    number = lineage.ledger.record_comparison(
        challenger=challenger,
        champion=champion,
        verdict=verdict,
        about={"test_digest": digest, "config": config.model_dump(mode="json")},
    )
    _log.info("version %d: %s (%s)", challenger, verdict.action, verdict.reason)
    return outcome_of(number, challenger, champion, verdict)


def verdict_on(
    lineage: Lineage,
    challenger: int,
    champion: int | None,
    settings: Retraining,
    config: CompareConfig,
) -> tuple[Verdict, str]:
    """What the gate says, and the SHA-256 of the test items that it says it of."""
    new = evaluation_of(lineage, challenger, settings, config, by=challenger)
    old = None
    if champion is not None:
        old = evaluation_of(lineage, champion, settings, config, by=challenger)
    gate: Gate = build("gate", "compare", config.model_dump(mode="json"))
    return gate.compare(old, new), new.test_digest


def outcome_of(
    number: int, challenger: int, champion: int | None, verdict: Verdict
) -> dict[str, Any]:
    """What the comparison gives: the winning model, and what to do."""
    return {
        "comparison": number,
        "challenger": challenger,
        "champion": champion,
        "winning_model": challenger if verdict.promote else champion,
        "action": verdict.action,
        "reason": verdict.reason,
    }


def stored_verdict(lineage: Lineage, number: int) -> Verdict:
    """A verdict as it was recorded."""
    content = lineage.ledger.comparison(number)
    checks = tuple(Check(**check) for check in content["checks"])
    return Verdict(content["promote"], content["reason"], checks)


def show(lineage: Lineage, version: int, outcome: dict[str, Any]) -> None:
    """Write the verdict into the version's folder, and tell the tracker."""
    verdict = stored_verdict(lineage, outcome["comparison"])
    folder = lineage.version_folder(version)
    content = {**outcome, **asdict(verdict)}
    with taking_turns(folder):  # whoever compares the same version at the same time
        write_file(folder / VERDICT_FILE, json.dumps(content, indent=1).encode(), durable=False)
        write_file(folder / VERDICT_TEXT, verdict_markdown(verdict).encode(), durable=False)
        create_folder((folder / VERDICT_FIGURE).parent)
        draw_verdict(
            verdict, folder / VERDICT_FIGURE, title=f"{lineage.reference.model} {version}"
        )
        track_verdict(lineage, version, (VERDICT_FILE, VERDICT_TEXT, VERDICT_FIGURE))
