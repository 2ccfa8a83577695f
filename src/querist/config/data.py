"""Settings of the data: the pool, its subsets, and what is labeled at the start."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from querist.config.component import Component
from querist.config.group import Group


class SplitConfig(Group):
    """Which part of the pool is held back. Held-out samples are never queried or trained on."""

    test: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the pool that metrology is computed on. 0 when the pool brings its own test set."""

    validation: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the pool that training may look at for early stopping."""

    stratify: bool = True
    """Keep the shares of the classes in every subset (classification only)."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.test + self.validation >= 1.0:
            raise ValueError(
                f"test + validation must leave something to learn from, not "
                f"{self.test} + {self.validation}: lower one of them"
            )
        return self


class InitialConfig(Group):
    """What is labeled before the first iteration: exactly one of these."""

    share: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of the samples that are not held back, drawn at random."""

    count: int | None = Field(default=None, ge=1, le=10**9)
    """Number of samples, drawn at random."""

    indices: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] | None = Field(
        default=None, min_length=1
    )
    """These samples of the pool."""

    pool: Component | None = None
    """A pool of its own whose samples are all labeled; the `data.pool` is then all unlabeled."""

    stratify: bool = False
    """Draw `share` or `count` by class, so that the classes keep their shares."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [k for k in ("share", "count", "indices", "pool") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(
                f"data.initial takes exactly one of share, count, indices and pool, "
                f"not {' and '.join(given) or 'none'}"
            )
        return self


class DataConfig(Group):
    """The pool, its subsets, and what is labeled at the start."""

    pool: Component
    """The samples: a registered pool, or a class or function of an allowed package. A data set with
    `append` is used as it is: what is labeled is appended to it."""

    unlabeled: Component | None = None
    """Only beside a data set with `append`: what its query strategies see as
    `driver.unlabeled_datapool`."""

    validation: Component | None = None
    """Only beside a data set with `append`: what its strategies see as `driver.val_datapool`."""

    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Randomness of the pool, the split and the initial labels. Default: the experiment's seed."""

    split: SplitConfig = SplitConfig()
    """Which part is held back."""

    initial: InitialConfig = InitialConfig(share=0.05)
    """What is labeled at the start."""
