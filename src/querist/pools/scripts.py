"""A pool for experiments whose samples are in files that only the user's scripts know."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from querist.commands.command import Command
from querist.commands.work import checked_name, known_folder, make, plain_file
from querist.errors import CommandError, ConfigurationError
from querist.registry import register


@register("pool", "scripts")
class Scripts:
    """The samples of a run whose steps are programs that share a folder.

    What the label command says of each sample (a number, or any JSON) is a labeled sample here;
    the data themselves are in files of the run's work folder. A run makes one when it begins: the
    files are copied there, and then the initial command runs, once.

    Args:
        initial: a command `{argv: [...], ...}` that makes what the first training needs. A list
            on the last line of its output is so many labeled samples, anything else is one.
        files: files of the folder where Querist was started that are copied into the work folder.
    """

    in_files = True
    classes = None

    def __init__(self, initial: Mapping[str, Any] | None = None, files: Sequence[str] = ()) -> None:
        self.initial = None if initial is None else Command.of("initial", initial)
        if isinstance(files, str) or not isinstance(files, Sequence):
            raise ConfigurationError(f"files is a list of names, not {files!r:.80}: write one")
        self.files = tuple(checked_name(name) for name in files)
        for name in self.files:
            plain_file(Path.cwd(), name)
            if not Path(name).is_file():
                raise ConfigurationError(
                    f"there is no file {name!r:.200} in {Path.cwd()}: start Querist in the folder "
                    "that holds it, or correct data.pool.options.files"
                )
        self._items: list[Any] = []
        self._folder: Path | None = None

    def work_in(self, folder: Path) -> None:
        """Where the initial command works."""
        self._folder = folder

    def begin(self) -> None:
        """Copy the files and run the initial command.

        Raises:
            CommandError: the command failed.
        """
        folder = make(known_folder(self._folder))
        for name in self.files:
            make((folder / name).parent)
            shutil.copyfile(name, folder / name)
        if self.initial is None:
            return
        line = self.initial.run(folder, iteration=0)
        try:
            answer = self.initial.finite(self.initial.read(line))
        except CommandError:
            answer = None  # a script that chats; that it ended well is what counts
        self._items = answer if isinstance(answer, list) else [answer]

    def begin_with(self, items: list[Any]) -> None:
        """Be as after `begin`, in a run that is opened again."""
        self._items = list(items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: int) -> Any:
        return self._items[position]

    def append(self, item: Any) -> None:
        """A sample was labeled; `item` is what the label command said."""
        self._items.append(item)
