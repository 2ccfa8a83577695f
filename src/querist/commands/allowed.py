"""Which programs a configuration may name.

A configuration may come from a web form, so the operator says which programs it may run:
`QUERIST_ALLOWED_COMMANDS`, comma separated. An entry is

    sim.py, tools/mesh, /opt/bin/solver   a file; relative ones are in the folder of the start
    solver                                a program that is found on the PATH
    .                                     every script and executable of the folder of the start
    *                                     everything

For an interpreter (`python`, `bash`, `env`...) the script is what counts, and it is the word after
it: `[python, -c, ...]` and `[bash, -c, ...]` are for `*` alone. Nothing is allowed by default; the
`querist` command line, whose user is the operator, sets `.`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from querist.errors import ConfigurationError, ForbiddenCommandError

ALLOWED_COMMANDS_VARIABLE = "QUERIST_ALLOWED_COMMANDS"
COMPONENTS = frozenset({"command", "scripts"})
"""The components of ours, of whatever kind, that run programs."""

_SCRIPTS = {
    "python": (".py",), "pypy": (".py",), "sh": (".sh",), "bash": (".sh", ".bash"),
    "dash": (".sh",), "zsh": (".sh", ".zsh"), "ksh": (".sh", ".ksh"), "fish": (".fish",),
    "csh": (".csh",), "tcsh": (".csh",), "perl": (".pl",), "ruby": (".rb",), "node": (".js",),
    "Rscript": (".R", ".r"), "R": (), "julia": (".jl",), "lua": (".lua",), "php": (".php",),
    "tclsh": (".tcl",), "octave": (".m",), "awk": (), "env": (), "nice": (), "nohup": (),
    "sudo": (), "timeout": (), "time": (), "xargs": (), "stdbuf": (), "setsid": (), "busybox": (),
}  # fmt: skip
"""Programs that run what they are given, and how its file is named."""
_VERSION = re.compile(r"[0-9.]+$")
_LOADS_CODE = re.compile(
    r"(LD|DYLD|PYTHON|BASH|ZSH|PERL|RUBY|NODE|R|JULIA|LUA|PHP|GIT|GCONV|QUERIST)_?.*|PATH|ENV|IFS"
    r"|HOME|ZDOTDIR|SHELL|SHELLOPTS|TCLLIBPATH|CLASSPATH|.*_TOOL_OPTIONS",
    re.ASCII,
)
"""Names of the environment that make programs load other code."""


def check_command(argv: Any, environment: Mapping[str, Any] | None = None) -> None:
    """Refuse a program that the operator did not allow; nothing is run.

    Args:
        argv: the command line, as the configuration has it.
        environment: what the configuration adds to the environment.

    Raises:
        ConfigurationError: it is no list of words.
        ForbiddenCommandError: it is not on the list.
    """
    words = check_words(argv)
    entries = allowed_commands()
    if "*" in entries:
        return
    for name in environment or ():
        if _LOADS_CODE.fullmatch(str(name)):
            raise ForbiddenCommandError(
                f"the environment of a command may not set {name!r:.80}, with which other code "
                f"could be run: remove it, or let the operator set {ALLOWED_COMMANDS_VARIABLE}=*"
            )
    start = Path.cwd()
    program = words[0]
    kinds = _scripts_of(program)
    if kinds is None:
        if _is_listed(program, entries, start, kinds=None):
            return
        shown, advice = program, program
    else:
        script = words[1] if len(words) > 1 else ""
        known = os.sep not in program or _is_listed(program, entries, start, kinds=None)
        if known and script[:1] not in ("", "-") and _is_listed(script, entries, start, kinds):
            return
        shown = " ".join(words[:2])
        advice = script if script[:1] not in ("", "-") else "*"
    raise ForbiddenCommandError(
        f"running {shown!r:.200} is not allowed: the operator can allow it by setting "
        f"{ALLOWED_COMMANDS_VARIABLE}={advice:.200} where Querist runs"
    )


def check_words(argv: Any) -> tuple[str, ...]:
    """A command line as a tuple of words.

    Raises:
        ConfigurationError: it is a string, or no list of texts, or empty.
    """
    if isinstance(argv, str):
        raise ConfigurationError(
            f"argv is a list of words and never a line for a shell, not {argv!r:.80}: write "
            "[python, sim.py]"
        )
    if not isinstance(argv, Sequence) or isinstance(argv, bytes) or not argv:
        raise ConfigurationError(
            f"argv is a list of at least one word, not {argv!r:.80}: write [python, sim.py]"
        )
    for word in argv:
        if not isinstance(word, str) or "\0" in word:
            raise ConfigurationError(
                f"each word of argv is a text, not {word!r:.80}: put it into quotes"
            )
    if not argv[0].strip():
        raise ConfigurationError("argv starts with a program, not with an empty word: name one")
    return tuple(argv)


def allowed_commands() -> frozenset[str]:
    """What the operator allows."""
    listed = os.environ.get(ALLOWED_COMMANDS_VARIABLE, "")
    return frozenset(entry.strip() for entry in listed.split(",") if entry.strip())


def check_component(name: str, options: Mapping[str, Any]) -> None:
    """Refuse a component of a configuration that would run what is not allowed.

    Components that are named in its options, as criteria of `any_of` are, are looked at too.

    Raises:
        ConfigurationError: the first command that is refused.
    """
    if name in COMPONENTS:
        for holder in _commands(options):
            environment = holder.get("environment")
            check_command(holder["argv"], environment if isinstance(environment, Mapping) else None)
    for inner in _mappings(options):
        named, of = inner.get("name"), inner.get("options")
        if isinstance(named, str) and isinstance(of, Mapping):
            check_component(named, of)


def _commands(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping with an `argv`; flags and environments are no commands."""
    if isinstance(value, Mapping):
        if "argv" in value:
            yield value
        value = {k: v for k, v in value.items() if k not in ("options", "environment")}
    for inner in _mappings(value):
        yield from _commands(inner)


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    parts: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
    for part in parts:
        if isinstance(part, Mapping):
            yield part
        elif isinstance(part, list | tuple):
            yield from _mappings(part)


def _scripts_of(program: str) -> tuple[str, ...] | None:
    """How scripts of an interpreter are named; None for any other program."""
    name = os.path.basename(program)
    return _SCRIPTS.get(name, _SCRIPTS.get(_VERSION.sub("", name)))


def _is_listed(
    word: str, entries: frozenset[str], start: Path, kinds: tuple[str, ...] | None
) -> bool:
    """Whether a program (`kinds` None) or a script of an interpreter is on the list."""
    here = (start / word).resolve()
    if not here.is_file():
        # Not a file of the start: a program on the PATH, by its name.
        return kinds is None and os.sep not in word and word in entries
    if any((start / entry).resolve() == here for entry in entries if entry != "."):
        return True
    if "." not in entries or not here.is_relative_to(start.resolve()):
        return False
    return os.access(here, os.X_OK) if kinds is None else here.suffix in kinds
