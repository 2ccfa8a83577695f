from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.config.load import load_experiment
from querist.errors import (
    ConfigurationError,
    DataError,
    LearnerError,
    RunError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    UnknownNameError,
)
from querist.pools import TensorPool
from querist.runs import RunReference, close_run, create_run, list_runs, open_run, run_folder


def test_a_new_run(new_run: Any) -> None:
    run = new_run()
    folder = run.reference.folder
    assert len(run.reference.run_id) == 8
    int(run.reference.run_id, 16)
    assert {"experiment.yaml", "ledger.db", "run.lock"} <= {p.name for p in folder.iterdir()}
    text = (folder / "experiment.yaml").read_text()
    assert text.startswith("# python 3.")
    assert "torch 2." in text.partition("\n")[0]
    assert load_experiment(folder / "experiment.yaml") == run.experiment
    assert run.ledger.next_iteration() == 0
    assert len(run.labeled(0)) == 10
    assert open_run(run.reference) is run


def test_a_run_is_found_again(new_run: Any, drive: Any) -> None:
    run = new_run("mine")
    before = run.labeled(0)
    again = drive.reopened(run)
    assert again is not run
    assert again.experiment == run.experiment
    assert torch.equal(again.labeled(0).indices, before.indices)
    assert torch.equal(again.labeled(0).targets, before.targets)
    assert torch.equal(again.data.queryable, run.data.queryable)
    assert again.test_digest() == run.test_digest()
    assert again.learner.state_files() == run.learner.state_files()
    root = run.reference.root
    assert [r.run_id for r in list_runs(root)] == ["mine"]
    assert run_folder("mine", root) == run.reference.folder


def test_a_run_id_that_is_taken(new_run: Any, drive: Any, experiment: Any) -> None:
    run = new_run("mine")
    close_run(run.reference)
    before = (run.reference.folder / "experiment.yaml").read_bytes()
    with pytest.raises(RunExistsError, match="run mine exists already: `querist resume mine`"):
        create_run(experiment(), "mine")
    assert (run.reference.folder / "experiment.yaml").read_bytes() == before


@pytest.mark.parametrize("run_id", ["a/b", "..", "../x", "x" * 65, ".x"])
def test_run_ids_that_are_no_folder_names(
    new_run: Any, experiment: Any, tmp_path: Path, run_id: str
) -> None:
    with pytest.raises(ConfigurationError, match="a run id has 1 to 64"):
        create_run(experiment(), run_id)
    with pytest.raises(ConfigurationError, match="a run id has 1 to 64"):
        run_folder(run_id, tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_not_there(new_run: Any, tmp_path: Path) -> None:
    new_run("mine")
    with pytest.raises(RunNotFoundError, match="no run 'other' .* the newest are mine"):
        open_run(RunReference(run_id="other", root=tmp_path / "runs"))


def test_a_run_that_another_process_works_on(new_run: Any, experiment: Any) -> None:
    run = new_run("mine")
    code = f"""
from pathlib import Path
from querist.errors import RunLockedError
from querist.runs import RunReference, open_run
try:
    open_run(RunReference(run_id="mine", root=Path({str(run.reference.root)!r})))
except RunLockedError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    import os
    import socket

    assert f"process {os.getpid()} on host {socket.gethostname()}" in done.stdout
    with pytest.raises((RunLockedError, RunExistsError)):
        create_run(experiment(), "mine")


def test_what_a_killed_creation_left_is_replaced(
    experiment: Any, new_run: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    for name in ("run.lock", "ledger.db", "ledger.db-wal", ".tmp-experiment.yaml"):
        (folder / name).write_bytes(b"")
    run = new_run("mine")
    assert len(run.labeled(0)) == 10


def test_a_folder_of_somebody_elses_is_never_removed(experiment: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "thesis"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "years_of_work.csv").write_text("precious")
    with pytest.raises(RunExistsError, match="choose another id"):
        create_run(experiment(), "thesis")
    assert (folder / "data" / "years_of_work.csv").read_text() == "precious"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"strategies": {"query": "margn"}}, UnknownNameError, "'margin'"),
        ({"strategies": {"metrology": {"name": "f1", "options": {"avg": "x"}}}},
         UnknownNameError, "avg"),
        ({"strategies": {"metrology": {"name": "f1", "options": {"average": "x"}}}},
         ConfigurationError, "average"),
        ({"stop": "label_budget"}, ConfigurationError, "needs the option 'labels'"),
        ({"gate": "metric_improvment"}, UnknownNameError, "'metric_improvement'"),
        ({"strategies": {"queue": "redis"}}, UnknownNameError, "ledger, memory"),
        ({"training": {"loop": "fancy"}}, UnknownNameError, "default"),
        ({"training": {"early_stopping": {}}}, DataError, "data.split.validation"),
        ({"data": {"split": {"test": 0.2}}}, DataError, "brings its own test set"),
        ({"data": {"unlabeled": "digits"}}, ConfigurationError, "append"),
        ({"data": {"initial": {"count": 1000, "stratify": False}}},
         DataError, "asks for 1000 of the 60"),
        ({"data": {"initial": {"count": 1, "stratify": False}}}, DataError, "hold only class"),
        ({"data": {"pool": {"name": "digits"}}}, DataError, "data.split.test"),
        ({"data": {"pool": {"name": "digits"}, "split": {"test": 0.1}}},
         LearnerError, "cannot take"),
        ({"learner": {"name": "sklearn", "options": {"estimator": "Ridge"}}},
         LearnerError, "regressor"),
        ({"learner": {"name": "examples.two_moons.data:sample_moons",
                      "options": {"n": 3, "rare_share": 0.5, "noise": 0.1}}},
         LearnerError, "tuple"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_anything_is_written(
    experiment: Any, tmp_path: Path, changes: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as found:
        create_run(experiment(**changes), "mine")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "runs" / "mine").exists()


def pool(features: torch.Tensor, **more: Any) -> Any:
    def make() -> TensorPool:
        targets = torch.arange(len(features)) % 2
        test = TensorPool(torch.full((4, 2), 9.0) + torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
        return TensorPool(features, targets, classes=2, held_out={"test": test})

    return make


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (torch.tensor([[1.0, float("nan")]] * 20), "20 of the 20 samples"),
        (
            torch.tensor([[1.0, float("inf")], [0.0, 0.0]]),
            "1 of the 2 samples .* first is sample 0",
        ),
        (torch.empty(0, 2), "data.pool is empty"),
    ],
)
def test_features_that_cannot_be_used(
    experiment: Any, component: Any, tmp_path: Path, features: torch.Tensor, words: str
) -> None:
    name = component("pool", pool(features))
    with pytest.raises(DataError, match=words):
        create_run(experiment(data={"pool": {"name": name}}), "mine")
    assert not (tmp_path / "runs").exists()


def test_test_samples_among_the_training_samples(experiment: Any, component: Any) -> None:
    def make() -> TensorPool:
        features = torch.rand(20, 2)
        targets = torch.arange(20) % 2
        return TensorPool(
            features, targets, held_out={"test": TensorPool(features[3:5], targets[3:5], classes=2)}
        )

    with pytest.raises(DataError, match="same features as a sample of train"):
        create_run(experiment(data={"pool": {"name": component("pool", make)}}))


def test_test_samples_in_the_initial_pool(experiment: Any, component: Any) -> None:
    features = torch.rand(40, 2)
    test = TensorPool(features[:4], torch.tensor([0, 1, 0, 1]))
    whole = component(
        "pool",
        lambda: TensorPool(features[20:], torch.arange(20) % 2, held_out={"test": test}),
    )
    initial = component("pool", lambda: TensorPool(features[:10], torch.arange(10) % 2))
    data = {"pool": {"name": whole}, "initial": {"pool": initial, "count": None, "stratify": False}}
    with pytest.raises(DataError, match="same features as a sample of"):
        create_run(experiment(data=data))


def test_a_pool_that_changed(new_run: Any, component: Any) -> None:
    features = torch.rand(20, 2)
    name = component("pool", pool(features))
    run = new_run(data={"pool": {"name": name}})
    close_run(run.reference)
    features[7] += 1
    with pytest.raises(RunError, match="fingerprint differs.* bring the data back"):
        open_run(run.reference)
    features[7] -= 1
    features[0, 0] = 0.123
    with pytest.raises(RunError, match="fingerprint"):
        open_run(run.reference)


def test_a_failed_opening_leaves_the_run_free(new_run: Any) -> None:
    run = new_run("mine")
    close_run(run.reference)
    experiment_file = run.reference.folder / "experiment.yaml"
    good = experiment_file.read_text()
    experiment_file.write_text(good.replace("margin", "margn"))
    with pytest.raises(ConfigurationError):
        open_run(run.reference)
    experiment_file.write_text(good)
    assert open_run(run.reference).experiment == run.experiment


def test_a_pool_with_one_output_too_many_is_said_in_words(experiment: Any, component: Any) -> None:
    learner = component("learner", lambda: torch.nn.Linear(2, 7))
    with pytest.raises(LearnerError, match="gives 7 numbers per sample but the pool has 2 classes"):
        create_run(experiment(learner={"name": learner}))
