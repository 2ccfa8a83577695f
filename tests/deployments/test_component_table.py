from __future__ import annotations

import json

from rich.console import Console

from querist.deployments.component_table import as_row, as_table
from querist.registry import Registered, components


def printed(found: list[Registered], kind: str | None) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(as_table(found, kind))
    return console.export_text()


def the(kind: str, name: str) -> Registered:
    return next(found for found in components(kind) if found.name == name)


def test_a_row_has_what_a_strategy_says_of_itself() -> None:
    row = as_row(the("query", "margin"))
    assert row["needs"] == ["probabilities"]
    assert row["cost"] == "n c"
    assert "doi:10.1007/3-540-44816-0_31" in row["paper"]
    assert row["summary"].startswith("The samples whose two most probable")
    assert as_row(the("query", "subsample"))["options"] == ["strategy", "size", "share"]


def test_a_row_of_another_kind_has_options_alone() -> None:
    row = as_row(the("stop", "max_iterations"))
    assert row == {
        "kind": "stop", "name": "max_iterations", "options": ["n"], "summary": row["summary"]
    }  # fmt: skip


def test_all_rows_are_json() -> None:
    rows = json.loads(json.dumps([as_row(found) for found in components()]))
    assert len(rows) == len(components())


def test_query_strategies_are_shown_with_needs_cost_paper_and_options() -> None:
    shown = printed(components("query"), "query")
    assert "needs probabilities; cost n c" in shown
    assert "needs nothing; cost k" in shown
    assert "arXiv:2110.04543" in shown
    assert "options: strategy, size=None, share=None" in shown


def test_other_kinds_are_shown_with_their_options() -> None:
    shown = printed(components(), None)
    assert "max_iterations" in shown
    assert "needs probabilities" not in shown


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    def odd(value: str = "[red]x[/red]") -> None:
        """Has [bold] words."""

    found = [Registered("query", "odd", odd), the("query", "margin")]
    for kind in ("query", None):
        shown = printed(found, kind)
        assert "[red]" in shown
        assert "[bold]" in shown
