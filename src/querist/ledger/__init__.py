"""The ledger: every selection, request, label, measurement and verdict of a run."""

from querist.ledger.ledger import Ledger, OpenRequest

__all__ = ["Ledger", "OpenRequest"]
