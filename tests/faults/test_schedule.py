"""Row 24: a schedule of every minute, which goes on firing when there is nothing new."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from ..conftest import Cli
from ..deployments.test_schedule_fires import (
    check_fired,
    first_fired,
    outcomes,
    scheduled_for,
    served_place,
)
from ..deployments.test_serve import api, deployment, here, serving
from ..shared.models import blob

__all__ = ["api", "here"]
MINUTE = timedelta(minutes=1)


@pytest.mark.skipif(
    os.environ.get("FAULTS") != "nightly",
    reason="five minutes: nightly; CI has a schedule of 40 s, tests/deployments",
)
@pytest.mark.timeout(900)
def test_every_minute(api: str, here: Cli) -> None:
    """Three minutes: work, no-op, no-op; what comes then is learned in the minute after."""
    place, file = served_place(here)
    with serving(here, file, "--cron", "* * * * *"):
        made = deployment(api, "retraining/blobs")
        assert made.schedules[0].schedule.cron == "* * * * *"
        runs = first_fired(api, made, 3, 420)
        check_fired(runs, made, place, MINUTE)
        assert all(scheduled_for(run).second == 0 for run in runs)
        place.add([blob(number) for number in range(60, 90)])
        fifth = first_fired(api, made, 5, 300)
    # The fourth may have looked before the items came; the fifth came after them.
    later = [name for name, _ in outcomes(fifth[3:])]
    assert later.count("Nothing new") == 1, later
    assert set(later) & {"Promoted", "Discarded"}, later
    with place.look() as lineage:
        assert list(lineage.ledger.versions()) == [1, 2]
