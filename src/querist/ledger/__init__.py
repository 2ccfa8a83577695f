"""The ledger: every selection, request, label, measurement and verdict of a run."""

from querist.ledger.labels import INITIAL, Recorded, Source
from querist.ledger.ledger import Ledger
from querist.ledger.requests import OPEN, UNSETTLED, OpenRequest, RequestState

__all__ = [
    "INITIAL",
    "OPEN",
    "UNSETTLED",
    "Ledger",
    "OpenRequest",
    "Recorded",
    "RequestState",
    "Source",
]
