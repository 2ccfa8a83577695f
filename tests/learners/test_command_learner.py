from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from querist.config import TrainingConfig
from querist.errors import CommandError, ConfigurationError, LearnerError
from querist.learners import CommandLearner
from querist.pools import LabeledSet, TensorPool
from querist.training.job import TrainingJob
from querist.values import Task

TRAIN = """
import json, os
import numpy as np
data = np.load(os.environ["QUERIST_LABELED"])
before = json.load(open("model.json")) if os.path.exists("model.json") else []
mean = data["targets"].mean(0).tolist()
json.dump([*before, mean], open("model.json", "w"))
print("loss follows")
print(json.dumps({"train_loss": len(before)}))
"""
PREDICT = """
import json, os
import numpy as np
model = json.load(open("model.json"))
features = np.load(os.environ["QUERIST_FEATURES"])
np.save("predictions.npy", np.full(len(features), model[-1]))
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandLearner]:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")

    def learner(
        train: str = TRAIN,
        predict: str | None = PREDICT,
        keep: Any = ("model.json",),
        *,
        classes: int | None = None,
        folder: str = "run",
    ) -> CommandLearner:
        made = CommandLearner(
            {"argv": ["python", "-c", train]},
            keep=keep,
            predict=None if predict is None else {"argv": ["python", "-c", predict]},
        )
        made.learns(classes)
        made.work_in(tmp_path / folder / "work")
        return made

    return learner


def labeled(*targets: float) -> LabeledSet:
    values = torch.tensor(targets, dtype=torch.float64)
    pool = TensorPool(torch.arange(len(targets), dtype=torch.float32)[:, None], values)
    return LabeledSet(pool, torch.arange(len(targets)), values)


def job(iteration: int = 0) -> TrainingJob:
    def none(*_: Any) -> Any:
        raise NotImplementedError

    return TrainingJob(
        iteration=iteration, settings=TrainingConfig(), seed=1, device=torch.device("cpu"),
        dtype=torch.float32, train_step=none, validate_step=none,
    )  # fmt: skip


Make = Callable[..., CommandLearner]


def test_trains_predicts_and_goes_on(make: Make) -> None:
    learner = make()
    reports = []
    first = dataclasses.replace(job(), on_epoch=reports.append)
    assert learner.fit(labeled(1, 3), first).train_loss == 0.0
    assert [report.train_loss for report in reports] == [0.0]
    assert learner.task is Task.REGRESSION
    assert learner.predict(torch.zeros(3, 1)).tolist() == [2.0, 2.0, 2.0]
    assert learner.fit(labeled(1, 3, 5), job(1)).train_loss == 1.0
    assert learner.predict(torch.zeros(2, 1)).tolist() == [3.0, 3.0]


def test_state_comes_back_in_another_folder(make: Make, tmp_path: Path) -> None:
    learner = make()
    learner.fit(labeled(1, 3), job())
    files = learner.state_files()
    assert set(files) == {"iteration", "work.model.json"}
    other = make(folder="other")
    other.load_state_files(files)
    assert other.state_files() == files
    assert other.predict(torch.zeros(1, 1)).tolist() == [2.0]
    learner.fit(labeled(1, 5), job(1))
    other.fit(labeled(1, 5), job(1))
    assert other.state_files() == learner.state_files()
    other.reset()
    assert other.state_files() == {}
    assert not (tmp_path / "other" / "work" / "model.json").exists()


def test_a_training_that_was_killed_leaves_nothing_in_the_model(make: Make, tmp_path: Path) -> None:
    learner, undisturbed = make(), make(folder="undisturbed")
    for each in (learner, undisturbed):
        each.fit(labeled(1, 3), job())
    (tmp_path / "run" / "work" / "model.json").write_text("[1, 2, half wr")
    for each in (learner, undisturbed):
        each.fit(labeled(1, 5), job(1))
    assert learner.state_files() == undisturbed.state_files()


def test_class_probabilities(make: Make) -> None:
    train = "open('model.json', 'w').write('1')"
    predict = "print([[0.25, 0.75], [1, 0]])"
    learner = make(train, predict, classes=2)
    assert learner.fit(labeled(0, 1), job()).train_loss is None
    assert learner.task is Task.CLASSIFICATION
    assert learner.predict_proba(torch.zeros(2, 1)).tolist() == [[0.25, 0.75], [1.0, 0.0]]
    assert learner.predict(torch.zeros(2, 1)).tolist() == [1, 0]
    with pytest.raises(LearnerError, match=r"predicts \(3, 2\) class probabilities, not"):
        learner.predict(torch.zeros(3, 1))


def test_predictions_that_cannot_be_used(make: Make) -> None:
    for predict, says in (
        ("print([1, 2])", r"\(1,\) numbers, not the shape \(2,\)"),
        ("print(5)", r"not the shape \(\)"),
        ("print(['a'])", "neither a number nor JSON"),
        ("print('{}')", "says a list of predictions"),
        ("open('predictions.npy', 'w').write('no')", "cannot be read"),
    ):
        with pytest.raises((LearnerError, CommandError), match=says):
            make(predict=predict).predict(torch.zeros(1, 1))


def test_an_array_of_objects_is_not_unpickled(make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    predict = f"import shutil; shutil.copy({str(tmp_path / 'evil.npy')!r}, 'predictions.npy')"
    with pytest.raises(LearnerError, match="cannot be read"):
        make(predict=predict).predict(torch.zeros(1, 1))


def test_without_a_program_for_predictions(make: Make) -> None:
    with pytest.raises(LearnerError, match=r"learner\.options\.predict is not there: add it"):
        make(predict=None).predict(torch.zeros(1, 1))
    with pytest.raises(LearnerError, match="has no class probabilities"):
        make().predict_proba(torch.zeros(1, 1))


def test_what_is_kept_is_a_plain_file_of_the_folder(make: Make) -> None:
    with pytest.raises(LearnerError, match="left no 'model.json' in its work folder"):
        make("pass").fit(labeled(1), job())
    with pytest.raises(ConfigurationError, match="a plain file, and 'model.json' leads through"):
        make("import os; os.symlink('/etc/hostname', 'model.json')").fit(labeled(1), job())
    with pytest.raises(ConfigurationError, match="a plain file, and 'sub' is none"):
        make("import os; os.makedirs('sub')", keep=["sub"]).fit(labeled(1), job())
    for name in ("../x", "/etc/passwd", "", 3, "a\nb", "."):
        with pytest.raises(ConfigurationError, match="a file of the work folder is named"):
            make(keep=[name])
    with pytest.raises(ConfigurationError, match="keep is a list of files"):
        make(keep="model.json")


def test_files_in_folders(make: Make) -> None:
    train = "import os; os.makedirs('m', exist_ok=True); open('m/a.bin', 'wb').write(b'1')"
    learner = make(train, keep=["m/a.bin"])
    learner.fit(labeled(1), job())
    files = learner.state_files()
    assert set(files) == {"iteration", "work.m%2Fa.bin"}
    make(train, keep=["m/a.bin"], folder="other").load_state_files(files)
    with pytest.raises(LearnerError, match="and not 'm/a.bin'"):
        make().load_state_files(files)


def test_a_loss_that_is_none(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    for said, loss in (("print(0.5)", 0.5), ("print('done')", None), ("print('[1]')", None)):
        assert make(said, keep=()).fit(labeled(1), job()).train_loss == loss
    found = make("print('nan')", keep=()).fit(labeled(1), job()).train_loss
    assert found is not None
    assert found != found
    assert "says its loss is nan" in caplog.text


def test_it_tells_when_training_fails(make: Make) -> None:
    with pytest.raises(CommandError, match="exit code 1.*\n.*Traceback"):
        make("raise ValueError('why')").fit(labeled(1), job())
