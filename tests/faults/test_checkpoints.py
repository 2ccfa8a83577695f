"""Row 15: a checkpoint with a flipped bit, a zeroed page, or cut off is found, and not used."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from querist.errors import CheckpointError
from querist.runs import close_run, open_run
from querist.runs.checkpoints import MANIFEST, Checkpoints
from querist.values import Phase
from tests.shared import runs

new_run, experiment, drive = runs.new_run, runs.experiment, runs.drive

PAGE = 4096
Damage = Callable[[bytearray, random.Random], None]


def flip(content: bytearray, chance: random.Random) -> None:
    bit = chance.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8


def zero(content: bytearray, chance: random.Random) -> None:
    """A page, or a shorter range, that was not zero before."""
    while True:
        start = chance.randrange(0, len(content), PAGE if len(content) > PAGE else 1)
        size = PAGE if len(content) > PAGE else chance.randint(1, len(content))
        part = bytes(content[start : start + size])
        if any(part):
            content[start : start + size] = bytes(len(part))
            return


def cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def damage(file: Path, how: Damage, chance: random.Random) -> bytes:
    """Damage a file; returns what it held before."""
    before = file.read_bytes()
    content = bytearray(before)
    how(content, chance)
    assert bytes(content) != before
    file.write_bytes(content)
    return before


@pytest.fixture
def checkpoint(new_run: Any, drive: Any) -> tuple[Checkpoints, str]:
    """The newest checkpoint of a run, and its SHA-256 as the ledger has it."""
    run = new_run(
        "mine",
        learner={"options": {"hidden": 1024}},
        training={"optimizer": {"options": {"momentum": 0.9}}},
    )
    drive.iterate(run, 0)
    (row,) = run.ledger.commit_rows()
    assert sum(f.stat().st_size for f in run.checkpoints.path(0).iterdir()) > PAGE
    return run.checkpoints, row.checkpoint


@pytest.mark.parametrize(("how", "count"), [(flip, 1000), (zero, 200), (cut, 200)])
def test_every_damage_is_found(
    how: Damage, count: int, checkpoint: tuple[Checkpoints, str], tried: Any, survived: Any
) -> None:
    checkpoints, digest = checkpoint
    files = sorted(checkpoints.path(0).iterdir())
    assert MANIFEST in [file.name for file in files]
    assert len(files) == 3
    chance = random.Random(20261123)
    sizes = [file.stat().st_size for file in files]
    for number in range(count):
        tried(15)
        # Each file in turn at first, then by size: a small one is not spared.
        (file,) = chance.choices(files, sizes) if number % 2 else [files[number // 2 % len(files)]]
        before = damage(file, how, chance)
        with pytest.raises(CheckpointError, match=r"step_0000 (is damaged|cannot be read)"):
            checkpoints.load(0, digest)
        file.write_bytes(before)
        survived(15)
    checkpoints.load(0, digest)


@pytest.mark.parametrize("file", ["weights.safetensors", "training_state.pt", MANIFEST, "folder"])
@pytest.mark.parametrize("how", [flip, zero, cut])
def test_a_run_goes_on_from_the_commit_before(
    file: str, how: Damage, new_run: Any, drive: Any, caplog: Any, tried: Any, survived: Any
) -> None:
    options = {
        "driver": {"checkpoint_interval": 1},
        "training": {
            "optimizer": {"options": {"lr": 0.1, "momentum": 0.9}},
            "reset_optimizer": False,
        },
    }
    whole = new_run("whole", **options)
    drive.finish(whole)
    run = new_run("mine", **options)
    drive.iterate(run, 0)
    runs.PHASES[Phase.TRAIN](run, 1)
    folder = run.checkpoints.path(1)
    close_run(run.reference)
    chance = random.Random(1)
    tried(15)
    for path in [folder / file] if file != "folder" else sorted(folder.iterdir()):
        damage(path, how, chance)
    run = open_run(run.reference)
    drive.finish(run)
    said = [r.getMessage() for r in caplog.records if "step_0001 is damaged" in r.getMessage()]
    assert said
    assert all(words.endswith("the one before is used") for words in said[:1])
    assert "training iteration 1 again, its checkpoint is not there" in caplog.text
    found, expected = drive.content(run), drive.content(whole)
    assert found == expected
    survived(15)
