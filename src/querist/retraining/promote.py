"""The last step: the challenger becomes champion, or is discarded; and the way back."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

from querist.config.compare import CompareConfig
from querist.errors import ChampionChangedError, RunError
from querist.faults import crash_point
from querist.ledger.models import DISCARDED, LAST_STEP, PROMOTED, ROLLED_BACK, Promotion
from querist.lineage import Lineage
from querist.retraining.compare import judge, show
from querist.retraining.track import track_end, track_registry

_log = logging.getLogger(__name__)


def promote(lineage: Lineage, retraining: int) -> dict[str, Any]:
    """Make the verdict come true; returns the event, and who is champion.

    When somebody has changed the champion since the verdict, the two are compared again.

    Raises:
        LeaseLostError: another process has taken the model over.
    """
    done = lineage.ledger.step(retraining, LAST_STEP)
    if done is None:
        started = time.time()
        verdict = lineage.ledger.step(retraining, "compare")
        assert verdict is not None, "the step before"
        event = _event_of(lineage, retraining) or settle(lineage, retraining, verdict)
        crash_point("promote.recorded")
        track_registry(lineage, event.version)
        crash_point("promote.told")
        done = asdict(event)
        lineage.ledger.record_step(retraining, LAST_STEP, done, started)
    track_registry(lineage, done["version"])
    track_end(lineage, retraining, done)
    return done


def _event_of(lineage: Lineage, version: int) -> Promotion | None:
    """What was decided about a version, before a crash kept the step from being recorded."""
    events = lineage.ledger.promotions()
    own = [e for e in events if e.version == version and e.event in (PROMOTED, DISCARDED)]
    return own[-1] if own else None


def supersede(lineage: Lineage, retraining: int) -> None:
    """Discard the versions of retrainings that never came to their end, since a newer one began."""
    judged = {e.version for e in lineage.ledger.promotions()}
    for version in lineage.ledger.versions():
        if version in judged or version >= retraining:
            continue
        reason = f"superseded by retraining {retraining} before it was judged"
        verdict = {
            "action": "discard", "champion": lineage.ledger.champion(), "reason": reason,
            "comparison": None,
        }  # fmt: skip
        event = settle(lineage, version, verdict)
        track_registry(lineage, version)
        track_end(lineage, version, asdict(event))


def _made_champion(lineage: Lineage, version: int) -> Promotion | None:
    """What made a version champion, a promotion or a rollback; None unless it is champion now."""
    events = lineage.ledger.promotions()
    if not events or events[-1].champion != version:
        return None
    return next(e for e in reversed(events) if e.champion_before != version)


def settle(lineage: Lineage, challenger: int, verdict: dict[str, Any]) -> Promotion:
    """Promote or discard, by compare-and-set on the champion that the verdict was against.

    Returns the event; that of somebody else where the challenger has become champion meanwhile.
    """
    while True:
        promoted = verdict["action"] == "update_model"
        try:
            event = lineage.ledger.record_promotion(
                PROMOTED if promoted else DISCARDED,
                version=challenger,
                expected=verdict["champion"],
                champion=challenger if promoted else verdict["champion"],
                reason=verdict["reason"],
                comparison=verdict["comparison"],
            )
        except ChampionChangedError as changed:
            _log.warning("%s", changed)
            meanwhile = _made_champion(lineage, challenger)
            if meanwhile is not None:
                return meanwhile
            if verdict["comparison"] is None:  # nothing to judge: it is given up
                verdict = {**verdict, "champion": lineage.ledger.champion()}
                continue
            config = lineage.ledger.comparison(verdict["comparison"])["config"]
            verdict = judge_again(lineage, challenger, config)
            show(lineage, challenger, verdict)
            continue
        _log.info("version %d is %s: %s", challenger, event.event, event.reason)
        return event


def judge_again(lineage: Lineage, challenger: int, config: dict[str, Any]) -> dict[str, Any]:
    """A verdict against whoever is champion by now."""
    settings = lineage.settings(challenger)
    return judge(lineage, challenger, settings, CompareConfig.model_validate(config))


def roll_back(lineage: Lineage, *, reason: str, to: int | None = None) -> Promotion:
    """Make the champion before champion again; returns the event.

    Args:
        lineage: the registered model.
        reason: why, in words.
        to: this version instead, which must have been champion before.

    Raises:
        RunError: there is no champion before, or `to` has never been champion.
    """
    model = lineage.reference.model
    while True:
        present = lineage.ledger.champion()
        before = champions_before(lineage)
        if present is None or not before:
            raise RunError(f"model {model} has no champion before the present one to go back to")
        target = before[0] if to is None else to
        if target not in before:
            known = ", ".join(map(str, before))
            raise RunError(
                f"version {target} of {model} has not been champion before: go back to one of "
                f"{known}"
            )
        lineage.weights(target)  # a champion whose weights are damaged is none
        try:
            event = lineage.ledger.record_promotion(
                ROLLED_BACK, version=target, expected=present, champion=target, reason=reason
            )
        except ChampionChangedError:
            continue  # somebody was faster: look again
        crash_point("promote.recorded")
        track_registry(lineage, target)
        _log.info("model %s is back at version %d: %s", model, target, reason)
        return event


def champions_before(lineage: Lineage) -> list[int]:
    """Versions that were champion before the present one, the latest first.

    Going back is like undoing: the champion that was left behind is not the one before.
    """
    past: list[int] = []
    for event in lineage.ledger.promotions():
        if event.champion is None or (past and past[-1] == event.champion):
            continue
        if event.event == ROLLED_BACK and event.champion in past:
            del past[past.index(event.champion) + 1 :]
        else:
            past.append(event.champion)
    return past[-2::-1]
