"""The ledger: every selection, request, label, measurement and verdict of a run."""

from querist.ledger.iterations import OUTLOOK
from querist.ledger.labels import INITIAL, Recorded, Source
from querist.ledger.ledger import Ledger
from querist.ledger.requests import INITIAL_LABELS, OPEN, UNSETTLED, OpenRequest, RequestState

__all__ = [
    "INITIAL",
    "INITIAL_LABELS",
    "OPEN",
    "OUTLOOK",
    "UNSETTLED",
    "Ledger",
    "OpenRequest",
    "Recorded",
    "RequestState",
    "Source",
]
