"""Writes the generated parts of docs/reference.md from the code.

`python docs/make_reference.py` writes them; with `--check` it only says whether they are up to
date. A part stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).with_name("reference.md")

MODULES = {
    "querist.config": "The configuration of an experiment.",
    "querist.config.load": "Experiments from files and overrides.",
    "querist.config.comparison": "The configuration of a comparison.",
    "querist.config.parallel": "The configuration of parallel learners.",
    "querist.config.retraining": "The configuration of a registered model.",
    "querist.config.compare": "The configuration of a comparison of champion and challenger.",
    "querist.config.subsets": "The configuration of subsets of items.",
    "querist.config.learner": "What a version of a registered model is.",
    "querist.protocols": "What you implement.",
    "querist.values": "What strategies and gates take and return.",
    "querist.context": "What query and metrology strategies are given.",
    "querist.views": "What a learner can be asked about samples.",
    "querist.about": "What a query strategy says about itself.",
    "querist.shared_views": "What a learner has said of an iteration's candidates.",
    "querist.requests": "What label strategies are given.",
    "querist.queues": "The hand-over between query and label.",
    "querist.pools": "Samples, addressed by index.",
    "querist.items": "Items that registered models learn from.",
    "querist.items.digests": "The SHA-256 of items' contents.",
    "querist.items.filters": "Filters over the metadata of items.",
    "querist.items.split": "Subsets of items that stay.",
    "querist.items.drift": "New items against those that were learned from.",
    "querist.learners": "A model plus how it is fitted and how it predicts.",
    "querist.learners.restore": "A trained learner without its run.",
    "querist.training.job": "What a training loop is given, and what it returns.",
    "querist.training.loop": "The default training loop.",
    "querist.registry": "Components by name.",
    "querist.randomness": "Seeds and generators.",
    "querist.directions": "Which way a metric is better.",
    "querist.runs": "Runs on disk.",
    "querist.runs.status": "Where a run is, read without opening it.",
    "querist.runs.tracking": "What a run tells the tracker.",
    "querist.runs.parallel": "Parallel runs on disk.",
    "querist.runs.steering": "Asking a run to stop, or to go on with other settings.",
    "querist.commands": "Steps that are programs.",
    "querist.engines": "Where the steps of parallel learners are carried out.",
    "querist.phases": "The steps of an iteration as functions of an open run.",
    "querist.phases.begin": "The beginning of a run, as the flow does it.",
    "querist.phases.conclude": "The end of a run.",
    "querist.phases.settle": "What a person says of labels in doubt.",
    "querist.lineage": "Registered models on disk.",
    "querist.retraining.pull": "The first step of a retraining: what is there to learn.",
    "querist.retraining.steps": "The steps of a retraining, without Prefect.",
    "querist.verdicts": "Verdicts as rows and as text.",
    "querist.ledger": "The durable record of a run.",
    "querist.storage.store": "The way to the disk, for tests that make it fail.",
    "querist.faults": "Points at which a process can be made to die.",
    "querist.tracking.delivery": "Delivery to MLflow beside a run.",
    "querist.tracking.deliver": "Delivery to MLflow, once, as `querist sync` does it.",
    "querist.progress": "Following runs in this process.",
    "querist.comparison": "Learning curves side by side.",
    "querist.testing": "Contract suites for your own plug-ins.",
    "querist.flows": "The Prefect flows, and parallel learners from Python.",
    "querist.flows.parallel_learners": "The flow of parallel learners.",
    "querist.flows.retraining": "The flow of retraining.",
    "querist.tasks": "The Prefect tasks.",
    "querist.tasks.events": "Events in Prefect's feed.",
    "querist.errors": "What is raised on purpose.",
}
"""The modules that users import from, in the order of the page."""

ONLY = {
    "querist.config.load": ("load_experiment", "build_experiment", "read_yaml", "dump_yaml",
                            "apply_overrides", "merge"),
    "querist.config.comparison": ("Comparison", "build_comparison"),
    "querist.config.parallel": ("ParallelExperiment", "LearnerConfig", "ParallelConfig", "Quorum",
                                "Resources", "Selector", "build_parallel", "is_parallel"),
    "querist.config.retraining": ("Retraining", "ItemsConfig", "BaseConfig", "WhenConfig",
                                  "DriftConfig", "CollectionConfig", "build_retraining",
                                  "is_retraining"),
    "querist.config.compare": ("CompareConfig", "CheckConfig", "as_checks"),
    "querist.config.subsets": ("SubsetsConfig", "SubsetShare"),
    "querist.items.filters": ("compile_filter",),
    "querist.items.split": ("assign_subsets", "tag_of", "tagged"),
    "querist.items.drift": ("DriftReport", "check_drift"),
    "querist.retraining.pull": ("Pulled", "check_retraining", "pull"),
    "querist.flows.retraining": ("RetrainingSummary",),
    "querist.tasks.events": ("LABELS_COLLECTED", "emit", "drained"),
    "querist.training.loop": ("DefaultLoop",),
    "querist.registry": ("KINDS", "ALLOWED_BY_DEFAULT", "Registered", "register", "components",
                         "find", "build", "check_options", "allowed_packages", "import_object"),
    "querist.runs.tracking": ("track_start", "track_end", "track_model", "track_file"),
    "querist.runs.parallel": ("LearnerOutcome", "ParallelSummary", "ParallelRun", "is_parallel_run",
                              "load_parallel"),
    "querist.runs.steering": ("CONTROL_FILE", "GROUPS", "ask_to_stop", "ask_to_set"),
    "querist.flows.parallel_learners": ("ParallelFailedError",),
    "querist.phases.begin": ("Beginning", "begin"),
    "querist.phases.settle": ("Outcome", "Unsettled", "unsettled", "settle_outcome",
                              "settle_value"),
    "querist.faults": ("VARIABLE", "POINTS", "crash_point", "crash_at"),
    "querist.phases.conclude": ("Summary", "read_summary"),
    "querist.tracking.delivery": ("Delivery", "DeliveryState"),
    "querist.tracking.deliver": ("deliver", "DeliveryReport"),
}  # fmt: skip
"""What users need of modules that hold more."""

NOT_IN_THE_SCHEMA = {
    "training.threads": "1 to 1024",
    "driver.run_id": "`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, no `..`",
    "data.split": "test + validation below 1",
    "learners[].name": "`[A-Za-z0-9][A-Za-z0-9_]{0,30}`",
    "variants": "at most 100; a name has up to 41 letters, digits, blanks, `_` and `-`",
}
"""Ranges that validators check and the JSON schema does not show."""

OF_RETRAINING = {
    "model": NOT_IN_THE_SCHEMA["driver.run_id"],
    "training.threads": NOT_IN_THE_SCHEMA["training.threads"],
    "data.split.subsets": "2 to 20; the shares sum to 1",
    "data.split.subsets[].name": "`[A-Za-z0-9][A-Za-z0-9_-]{0,19}`",
}
"""The same for the keys of a retraining, some of which have the names of an experiment's."""


def in_one_line(text: str | None) -> str:
    """Text as a table cell."""
    return " ".join((text or "").split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# Command line -------------------------------------------------------------------------------------


def command_line() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_command(name, command) for name, command in commands().items())


def commands() -> dict[str, Any]:
    """The commands of `querist` by name."""
    import typer

    from querist.deployments.cli import app

    return dict(_leaves(typer.main.get_command(app).commands))  # type: ignore[attr-defined]


def _leaves(commands: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """The commands, those of groups by their whole name."""
    for name, command in commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command.commands, f"{group}{name} ")
        else:
            yield f"{group}{name}", command


def _command(name: str, command: Any) -> str:
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    usage = [_usage(p) for p in shown]
    rows = [
        (f"`{_usage(p).strip('[]')}`", _default(p), in_one_line(getattr(p, "help", "")) or "")
        for p in shown
    ]
    parts = [f"### `querist {' '.join([name, *usage])}`", in_one_line(command.help)]
    if rows:
        parts.append(table(("argument or option", "default", "what"), rows))
    return "\n\n".join(parts)


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        text = parameter.metavar or parameter.name.upper()
    elif parameter.is_flag:
        text = parameter.opts[0]
    else:
        text = f"{parameter.opts[0]} {parameter.metavar or parameter.name.upper()}"
    return text if parameter.required or text.startswith("[") else f"[{text}]"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    return f"`{parameter.default}`" if parameter.default not in (None, False, [], ()) else ""


def crash_points() -> str:
    """Every point at which `QUERIST_CRASH_AT` can kill."""
    from querist.faults import POINTS

    return table(("point", "where"), [(f"`{point}`", where) for point, where in POINTS.items()])


# Configuration ------------------------------------------------------------------------------------


def experiment_keys() -> str:
    """Every setting of an experiment."""
    from querist.config import Experiment

    return _keys_table(list(keys(Experiment.model_json_schema())))


def comparison_keys() -> str:
    """Every setting of a comparison."""
    from querist.config.comparison import Comparison

    return _keys_table(list(keys(Comparison.model_json_schema(), leave_out=("base",))))


def parallel_keys() -> str:
    """Every setting that parallel learners have beside those of the experiment."""
    from querist.config.parallel import ParallelExperiment

    rows = keys(ParallelExperiment.model_json_schema(), leave_out=("base",))
    return _keys_table([row for row in rows if row[0] != "`base`"])


def retraining_keys() -> str:
    """Every setting of a retraining, but those of the experiment that collects its labels."""
    from querist.config.retraining import Retraining

    schema = Retraining.model_json_schema()
    return _keys_table(list(keys(schema, leave_out=("experiment",), ranges=OF_RETRAINING)))


def component_keys() -> str:
    """Every setting of a component."""
    from querist.config import Component

    return _keys_table(list(keys(Component.model_json_schema())))


def _keys_table(rows: list[tuple[str, ...]]) -> str:
    return table(("key", "type", "default", "range", "what"), rows)


def keys(
    schema: Mapping[str, Any],
    leave_out: tuple[str, ...] = (),
    ranges: Mapping[str, str] = NOT_IN_THE_SCHEMA,
) -> Iterator[tuple[str, ...]]:
    """Key, type, default, range and description of every setting, groups before their keys."""
    yield from _keys_below(schema, schema.get("$defs", {}), "", leave_out, ranges)


def _keys_below(
    group: Mapping[str, Any],
    definitions: Mapping[str, Any],
    prefix: str,
    leave_out: tuple[str, ...],
    ranges: Mapping[str, str],
) -> Iterator[tuple[str, ...]]:
    for name, node in group["properties"].items():
        key = f"{prefix}{name}"
        branches = _branches(node)
        yield (
            f"`{key}`",
            " or ".join(dict.fromkeys(_type(b, definitions) for b in branches)),
            _default_of(node, name in group.get("required", ())),
            ranges.get(key) or ", ".join(filter(None, map(_range, branches))),
            in_one_line(node.get("description") or _of_group(node, definitions)),
        )
        for branch in branches:
            target = branch.get("items", branch)
            inner = target.get("$ref", "").rpartition("/")[2]
            if not inner or inner == "Component" or name in leave_out:
                continue
            several = "[]" if "items" in branch else ""
            definition = definitions[inner]
            skipped = ("name", "options") if "options" in definition["properties"] else ()
            properties = {k: v for k, v in definition["properties"].items() if k not in skipped}
            yield from _keys_below(
                {**definition, "properties": properties}, definitions, f"{key}{several}.",
                leave_out, ranges,
            )  # fmt: skip


def _of_group(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a group says of itself: pydantic drops a description that only repeats it."""
    found = definitions.get(node.get("$ref", "").rpartition("/")[2], {})
    return str(found.get("description", ""))


def _branches(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    every = node.get("anyOf", [node])
    return [branch for branch in every if branch.get("type") != "null"]


def _type(branch: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in branch:
        name = branch["$ref"].rpartition("/")[2]
        component = "options" in definitions[name].get("properties", {})
        return "component" if component else "group"
    if "const" in branch:
        return f"`{branch['const']}`"
    if "enum" in branch:
        return ", ".join(f"`{value}`" for value in branch["enum"])
    if branch.get("type") == "array":
        return f"list of {_type(branch['items'], definitions)}s"
    names = {"string": "text", "boolean": "true or false", "object": "mapping"}
    kind = branch.get("type", "anything")
    return names.get(kind, kind)


def _default_of(node: Mapping[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = node.get("default")
    if default is None:
        return ""
    if isinstance(default, dict):
        given = {k: v for k, v in default.items() if v not in (None, {}, [])}
        if set(given) == {"name"}:
            return f"`{given['name']}`"
        name_and_options = "name" in given
        return f"`{_flow(given)}`" if name_and_options else ""
    if isinstance(default, list):
        return "none" if not default else f"`{_flow(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    return str(value)


def _range(branch: Mapping[str, Any]) -> str:
    bounds = [
        (sign, branch[key])
        for key, sign in (
            ("minimum", "at least"), ("exclusiveMinimum", "above"),
            ("maximum", "at most"), ("exclusiveMaximum", "below"),
        )
        if key in branch
    ]  # fmt: skip
    words = [f"{sign} {_number(bound)}" for sign, bound in bounds]
    if "minLength" in branch or "maxLength" in branch:
        low, high = branch.get("minLength", 0), branch.get("maxLength")
        words.append(f"{low} to {high} characters" if high else f"{low} characters or more")
    if "minItems" in branch:
        words.append(f"{branch['minItems']} or more")
    return ", ".join(words)


def _number(value: float) -> str:
    if value >= 2**62:
        return "2^63" if value == 2**63 else f"{value}"
    return f"{value:,.0f}" if value == int(value) else f"{value}"


# Components ---------------------------------------------------------------------------------------


def components() -> str:
    """Every registered component of Querist with its options, by kind."""
    from querist.registry import KINDS
    from querist.registry import components as registered

    parts = []
    for kind in KINDS:
        ours = [c for c in registered(kind) if c.factory.__module__.startswith("querist.")]
        if not ours:
            none = "None comes with Querist: name an import path, or register your own."
            parts.append(f"### {kind}\n\n{none}")
            continue
        rows = []
        for c in ours:
            described = arguments_of(inspect.getdoc(c.factory) or "")
            options = [
                f"`{name}`{'' if p.default is p.empty else f' = `{p.default!r}`'}: "
                f"{described.get(name, '')}".rstrip(": ")
                for name, p in c.options.items()
            ]
            what = in_one_line(c.summary) + said_about(c.factory)
            rows.append((f"`{c.name}`", what, "<br>".join(options) or "none"))
        parts.append(f"### {kind}\n\n{table(('name', 'what it is', 'options'), rows)}")
    return "\n\n".join(parts)


def said_about(factory: Any) -> str:
    """What a query strategy needs of the learner, what it costs, and its paper: further lines."""
    about = getattr(factory, "about", None)
    if about is None:
        return ""
    needs = ", ".join(view.replace("_", " ") for view in about.needs) or "nothing"
    lines = [f"Needs {needs}; cost {about.cost}.", *([f"{about.paper}."] if about.paper else [])]
    return "".join(f"<br>{in_one_line(line)}" for line in lines)


def arguments_of(docstring: str) -> dict[str, str]:
    """What a docstring's `Args:` section says of each argument."""
    found: dict[str, str] = {}
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)*)", docstring, re.MULTILINE)
    name = ""
    for line in section[1].splitlines() if section else ():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {name: in_one_line(text) for name, text in found.items()}


# Python -------------------------------------------------------------------------------------------


def python() -> str:
    """Every public name of the modules that users import from."""
    return "\n\n".join(_module(name, what) for name, what in MODULES.items())


def public_names(module: Any) -> list[str]:
    """`__all__`, or what the page shows of a module, or what the module itself defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    if module.__name__ in ONLY:
        return list(ONLY[module.__name__])
    names: list[str] = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [t.id for t in node.targets if isinstance(t, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def _module(name: str, what: str) -> str:
    module = importlib.import_module(name)
    notes = _notes_on_assignments(module)
    entries = [_entry(getattr(module, n), n, notes.get(n, "")) for n in public_names(module)]
    return f"### `{name}`\n\n{what}\n\n" + "\n".join(entries)


def _notes_on_assignments(module: Any) -> dict[str, str]:
    """The text below an assignment, by the name that is assigned."""
    notes = {}
    body = ast.parse(inspect.getsource(module)).body
    for node, after in itertools.pairwise(body):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        text = after.value if isinstance(after, ast.Expr) else None
        if isinstance(target, ast.Name) and isinstance(text, ast.Constant):
            notes[target.id] = str(text.value)
    return notes


def _entry(thing: Any, name: str, note: str) -> str:
    thing = getattr(thing, "fn", thing)  # what a flow or task wraps
    if inspect.isclass(thing):
        lines = [f"- `{name}{_constructor(thing)}`: {_first_line(thing)}"]
        for method, member in _methods(thing):
            lines.append(f"    - `{method}{_call(member)}`: {_first_line(member)}")
        return "\n".join(lines)
    if inspect.isfunction(thing):
        return f"- `{name}{_signature(thing)}`: {_first_line(thing)}"
    return f"- `{name}`: {in_one_line(note) or _value(thing)}"


def _value(thing: Any) -> str:
    if isinstance(thing, frozenset | tuple):
        return ", ".join(f"`{x}`" for x in (thing if isinstance(thing, tuple) else sorted(thing)))
    return f"`{str(thing).replace('collections.abc.', '')}`"


def _constructor(thing: type) -> str:
    from pydantic import BaseModel

    is_enum = hasattr(thing, "__members__")
    hidden = getattr(thing, "_is_protocol", False) or issubclass(thing, BaseModel)
    if is_enum or hidden or "__init__" not in vars(thing):
        return ""
    return _signature(thing).removesuffix(" -> None")


def _methods(thing: type) -> Iterator[tuple[str, Any]]:
    from pydantic import BaseModel

    from querist.errors import QueristError

    if issubclass(thing, QueristError) or hasattr(thing, "__members__"):
        return
    for name, member in vars(thing).items():
        own = not name.startswith("_") or (name == "__call__")
        if (
            own
            and not name.startswith(("test_", "model_"))
            and (inspect.isfunction(member) or isinstance(member, property))
        ):
            documented = inspect.getdoc(member if not isinstance(member, property) else member.fget)
            if documented and not (issubclass(thing, BaseModel) and name.startswith("model")):
                yield name, member


def _call(member: Any) -> str:
    return "" if isinstance(member, property) else _signature(member)


def _signature(thing: Callable[..., Any]) -> str:
    signature = inspect.signature(thing)
    parts, star = [], False
    for name, p in signature.parameters.items():
        if name == "self" or name.startswith("_"):
            continue
        star = star or p.kind is p.VAR_POSITIONAL
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        text = f"{'*' * (p.kind is p.VAR_POSITIONAL)}{'*' * 2 * (p.kind is p.VAR_KEYWORD)}{name}"
        if p.annotation is not p.empty:
            text += f": {_annotation(p.annotation)}"
        if p.default is not p.empty:
            text += f" = {_plain(p.default)}"
        parts.append(text)
    returns = signature.return_annotation
    arrow = "" if returns is signature.empty else f" -> {_annotation(returns)}"
    return f"({', '.join(parts)}){arrow}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _plain(value: Any) -> str:
    """A default, the same in every process."""
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(str, value))) + "}"
    text = repr(value)
    return "..." if text.startswith("<") or len(text) > 40 else text


def _first_line(thing: Any) -> str:
    paragraph = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return in_one_line(paragraph).replace("\\|", "|")


# The page -----------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "experiment keys": experiment_keys,
    "component keys": component_keys,
    "parallel keys": parallel_keys,
    "comparison keys": comparison_keys,
    "retraining keys": retraining_keys,
    "crash points": crash_points,
    "components": components,
    "python": python,
}


def rendered(page: str) -> str:
    """The page with every generated part made anew.

    Raises:
        ValueError: a part has no place in the page.
    """
    for name, make in PARTS.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"docs/reference.md has no place for {name!r}")
        page = f"{before}{start}\n\n{make()}\n\n{end}{after}"
    return page


def main() -> int:
    """Write the page, or check it."""
    page = REFERENCE.read_text(encoding="utf-8")
    fresh = rendered(page)
    if "--check" in sys.argv[1:]:
        if fresh != page:
            print("docs/reference.md is out of date: python docs/make_reference.py")
        return int(fresh != page)
    REFERENCE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
