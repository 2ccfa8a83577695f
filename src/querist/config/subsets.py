"""Settings of the subsets that data which grow are split into."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from querist.config.group import Group

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SubsetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,19}$")]


class SubsetShare(Group):
    """One subset and its share of the items."""

    name: SubsetName = Field(examples=[TRAIN])
    """`train`, `validation`, `test`, or a name of your own."""

    share: float = Field(gt=0.0, le=1.0, examples=[0.8])
    """Its share of all items; the shares sum to 1."""


class SubsetsConfig(Group):
    """How items are split. An item never changes its subset, however many come after it."""

    distribution: Literal["custom", "equal"] = "custom"
    """`custom`: the shares as given. `equal`: all subsets have the same share."""

    subsets: tuple[SubsetShare, ...] = Field(
        default=(
            SubsetShare(name=TRAIN, share=0.8),
            SubsetShare(name=VALIDATION, share=0.1),
            SubsetShare(name=TEST, share=0.1),
        ),
        min_length=2,
        max_length=20,
    )
    """The subsets and their shares."""

    by: Literal["hash", "exact"] = "hash"
    """`hash`: by a hash of the item's id, which needs to know of no other item. `exact`: exact
    counts, for a set that is fixed; what comes later goes where most is missing."""

    stratify: bool = False
    """Keep the shares in every class (needs labels)."""

    group: str | None = Field(default=None, max_length=200, examples=["patient.id"])
    """Items with the same value here, in their metadata, go to the same subset."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Another seed gives another split."""

    @model_validator(mode="before")
    @classmethod
    def _from_shares(cls, value: Any) -> Any:
        """`subsets: {train: 0.8, test: 0.2}` is short for the list."""
        if isinstance(value, dict) and isinstance(value.get("subsets"), dict):
            shares = [{"name": k, "share": v} for k, v in value["subsets"].items()]
            return {**value, "subsets": shares}
        return value

    @model_validator(mode="after")
    def _shares_make_one(self) -> Self:
        names = [subset.name for subset in self.subsets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"each subset is named once, not {twice!r} twice: remove one")
        total = math.fsum(subset.share for subset in self.subsets)
        if self.distribution == "custom" and not math.isclose(total, 1.0, abs_tol=1e-9):
            shares = " + ".join(f"{subset.share:g}" for subset in self.subsets)
            raise ValueError(f"the shares of the subsets sum to 1, not {shares} = {total:g}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The share of each subset."""
        if self.distribution == "equal":
            return {subset.name: 1 / len(self.subsets) for subset in self.subsets}
        return {subset.name: subset.share for subset in self.subsets}
