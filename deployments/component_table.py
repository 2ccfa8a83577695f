"""Components as rows of a table, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from querist.about import About
from querist.registry import Registered


def as_row(component: Registered) -> dict[str, Any]:
    """A component as JSON has it; what a strategy says about itself is in it."""
    row: dict[str, Any] = {
        "kind": component.kind,
        "name": component.name,
        "options": list(component.options),
        "summary": component.summary,
    }
    about = _about(component)
    if about is not None:
        needs = [str(view) for view in about.needs]
        row |= {"paper": about.paper, "needs": needs, "cost": about.cost}
    return row


def as_table(components: Sequence[Registered], kind: str | None) -> Table:
    """Components, one a row; those of kind `query` with what they need, their cost and paper.

    Args:
        components: which.
        kind: the only kind that is among them, or None.
    """
    names = [Column(title, no_wrap=True) for title in ("kind", "name")]
    if kind == "query":
        table = Table(names[1], "what it chooses, needs of the learner, and costs", show_lines=True)
        for component in components:
            table.add_row(escape(component.name), escape(_described(component)))
        return table
    table = Table(*names, "options", "what it is")
    for component in components:
        row = (component.kind, component.name, _options(component), component.summary)
        table.add_row(*map(escape, row))
    return table


def _options(component: Registered) -> str:
    return ", ".join(
        name if p.default is p.empty else f"{name}={p.default!r}"
        for name, p in component.options.items()
    )


def _described(component: Registered) -> str:
    lines = [component.summary]
    about = _about(component)
    if about is not None:
        needs = ", ".join(view.replace("_", " ") for view in about.needs) or "nothing"
        lines += [f"needs {needs}; cost {about.cost}"]
        lines += [about.paper] if about.paper else []
    if component.options:
        lines += [f"options: {_options(component)}"]
    return "\n".join(lines)


def _about(component: Registered) -> About | None:
    found = getattr(component.factory, "about", None)
    return found if isinstance(found, About) else None
