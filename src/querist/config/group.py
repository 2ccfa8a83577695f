"""What all groups of settings share: frozen, unknown keys refused, numbers that are numbers."""

from __future__ import annotations

import math
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Group(BaseModel):
    """A frozen group of settings that refuses unknown keys, NaN, infinity, and -0.0 or a boolean
    where a number belongs.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        given = value if isinstance(value, list | tuple) else (value,)
        odd = [v for v in given if isinstance(v, bool) or (v == 0 and _is_negative_zero(v))]
        if odd and info.field_name is not None:
            kinds = _kinds(cls.model_fields[info.field_name].annotation)
            if (int in kinds or float in kinds) and bool not in kinds:
                raise ValueError(f"a number belongs here, not {odd[0]!r}: write one")
        return value


def _is_negative_zero(value: Any) -> bool:
    return isinstance(value, float) and math.copysign(1.0, value) < 0


def _kinds(annotation: Any) -> set[Any]:
    """The plain types in an annotation; a literal counts as the type of its values."""
    parts = get_args(annotation)
    if not parts:
        return {annotation if isinstance(annotation, type) else type(annotation)}
    return set().union(*map(_kinds, parts))
