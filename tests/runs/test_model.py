from __future__ import annotations

import shutil
from typing import Any

import pytest

from querist import phases
from querist.errors import CheckpointError
from querist.progress import Progress, watched_by
from querist.runs.model import bring_model_to


@pytest.mark.parametrize("interval", [0, 1, 10])
@pytest.mark.parametrize("damage", ["flip", "remove", "all"])
def test_a_damaged_checkpoint_is_trained_again_bit_by_bit(
    new_run: Any, drive: Any, interval: int, damage: str
) -> None:
    driver = {"max_active_learning_steps": 4, "checkpoint_interval": interval}
    whole = new_run(driver=driver)
    drive.finish(whole)

    run = new_run(driver=driver)
    for iteration in (0, 1):
        drive.iterate(run, iteration)
    newest = run.checkpoints.path(1)
    if damage == "flip":
        weights = newest / "weights.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "remove":
        (newest / "manifest.json").unlink()
    else:
        for iteration in run.checkpoints.iterations():
            shutil.rmtree(run.checkpoints.path(iteration))
    run = drive.reopened(run)
    drive.finish(run)
    assert drive.content(run) == drive.content(whole)
    log = (run.reference.folder / "console.log").read_text()
    assert "training iteration 1 again" in log
    if damage == "flip":
        assert "is damaged" in log


@pytest.mark.parametrize(
    ("interval", "left"), [(0, [6]), (1, [0, 1, 2, 3, 4, 5, 6]), (3, [2, 5, 6]), (10, [6])]
)
def test_checkpoint_interval(new_run: Any, drive: Any, interval: int, left: list[int]) -> None:
    run = new_run(driver={"max_active_learning_steps": 7, "checkpoint_interval": interval})
    drive.finish(run)
    assert run.checkpoints.iterations() == left


def test_the_same_experiment_ends_in_the_same_bytes(new_run: Any, drive: Any) -> None:
    runs = [new_run() for _ in range(2)]
    for run in runs:
        drive.finish(run)
    assert drive.content(runs[0]) == drive.content(runs[1])
    other = new_run(seed=1)
    drive.finish(other)
    assert drive.content(other)["files"] != drive.content(runs[0])["files"]


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"reset_optimizer": False, "optimizer": {"name": "Adam"}},
        {"warm_start": False},
        {"scheduler": {"name": "StepLR", "options": {"step_size": 1}}, "fine_tuning_lr": 0.01,
         "reset_optimizer": False},
        {"max_fine_tuning_epochs": 0},
        {"checkpoint_epochs": 1},
    ],
)  # fmt: skip
def test_a_run_that_is_reopened_before_every_phase_ends_the_same(
    new_run: Any, drive: Any, training: dict[str, Any]
) -> None:
    whole = new_run(training=training)
    drive.finish(whole)
    run = new_run(training=training)
    for iteration in range(3):
        for name in ("train", "metrology", "query", "label"):
            run = drive.reopened(run)
            getattr(phases, name)(run, iteration)
        run = drive.reopened(run)
        phases.commit_iteration(run, iteration)
    assert drive.content(run) == drive.content(whole)


def test_a_training_that_was_interrupted_goes_on_from_its_partial_checkpoint(
    new_run: Any, drive: Any
) -> None:
    training = {"max_training_epochs": 6, "checkpoint_epochs": 2}
    whole = new_run(training=training)
    drive.finish(whole)
    run = new_run(training=training)
    drive.iterate(run, 0)

    def interrupt(progress: Progress) -> None:
        if progress.epoch == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watched_by(interrupt):
        phases.train(run, 1)
    folder = run.reference.folder / "checkpoints"
    assert (folder / "partial_0001").is_dir()
    run = drive.reopened(run)
    phases.train(run, 1)
    assert not list(folder.glob("partial_*"))
    drive.finish(run)
    assert drive.content(run) == drive.content(whole)


def test_the_champion_is_brought_back(new_run: Any, drive: Any) -> None:
    run = new_run()
    drive.finish(run)
    files, _ = run.checkpoints.load(1)
    bring_model_to(run, 1)
    assert run.learner.state_files() == files
    bring_model_to(run, -1)
    fresh = new_run()
    assert run.learner.state_files() == fresh.learner.state_files()
    with pytest.raises(CheckpointError):
        run.checkpoints.load(99)
