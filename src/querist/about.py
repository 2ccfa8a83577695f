"""What there is to know of a query strategy before it is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from querist.views import View


@dataclass(frozen=True)
class About:
    """Said by a strategy's class as `about`, and listed by `querist components query`.

    Attributes:
        paper: authors' names, title, year, and arXiv number or DOI; "" where there is none.
        needs: the views that it asks of the learner.
        cost: operations beside the learner's predictions, in the pool's n candidates, the k that
            are wanted, c classes, d numbers of an embedding, t models and l labels, such as
            "n c + k d".
    """

    paper: str
    needs: tuple[View, ...]
    cost: str
