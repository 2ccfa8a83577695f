"""Steps that are programs: what may be run, how it is run, and what it says."""

from querist.commands.allowed import (
    ALLOWED_COMMANDS_VARIABLE,
    allowed_commands,
    check_command,
)
from querist.commands.command import Command
from querist.commands.work import WORK, work_in

__all__ = [
    "ALLOWED_COMMANDS_VARIABLE",
    "WORK",
    "Command",
    "allowed_commands",
    "check_command",
    "work_in",
]
