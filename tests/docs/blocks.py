"""The code blocks of a Markdown page, with what the comment above each says about it.

<!-- file: study.py -->     the block is written to this file
<!-- run -->                a Python block that is run
<!-- fails: 2 -->           commands that end with this exit code
<!-- prepares: texts/ -->   Python commands that make the files of YAML blocks with this in them
<!-- same as: PATH -->     the block is this file of the repository
<!-- part of: PATH -->     the block's lines are in this file
<!-- of a retraining -->    a YAML block is part of a retraining, not of an experiment
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- ([\w ]+)(?:: (.*?))? -->\n+\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: the page's name.
        line: where it starts.
        language: what stands behind the fence.
        text: its content.
        marks: what the comments right above it say.
    """

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[str]:
        """The commands of a shell block; of a transcript, the lines behind `$`."""
        joined = self.text.replace("\\\n", " ")
        lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return lines


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        marks: dict[str, str] = {}
        before = text[: match.start()]
        while mark := _MARK.search(before):
            marks[mark[1]] = mark[2] or ""
            before = before[: mark.start()]
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page.name, line, match[1], match[2], marks))
    return found


def all_blocks(*languages: str) -> list[Block]:
    return [b for page in PAGES for b in blocks_of(page) if b.language in languages]
