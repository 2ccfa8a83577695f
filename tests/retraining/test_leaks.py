"""A run's model as a base: never where the run has labeled what the version is compared on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.config.load import load_experiment
from querist.errors import DataError, RunError, RunNotFoundError
from querist.phases import conclude
from querist.retraining.leaks import refuse_leaks
from querist.runs import Run, close_run, create_run
from tests.shared.models import Place
from tests.shared.runs import Drive, component, experiment, new_run

from ..conftest import REPOSITORY

__all__ = ["component", "experiment", "new_run"]

FROM_RUN: dict[str, Any] = {
    "base": {"start": "run", "run_id": "moons"},
    "learner": None,
    "training": {"max_fine_tuning_epochs": 3},
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The model's folder and the run's are in one, and there are no items yet."""
    return Place(tmp_path)


@pytest.fixture
def moons(new_run: Callable[..., Run]) -> Run:
    """A run that has ended, and yields a model."""
    run = new_run("moons")
    Drive.finish(run)
    conclude(run)
    return run


def add(place: Place, features: torch.Tensor, first: int = 0, **tagged: str) -> None:
    """Items with these features, with a subset where one is named."""
    metadata = {"system": {"tags": dict.fromkeys(tagged.values(), True)}} if tagged else {}
    place.add(
        {"id": f"i{number}", "label": number % 2, "features": row, "metadata": metadata}
        for number, row in enumerate(features.tolist(), first)
    )


def learned(run: Run) -> torch.Tensor:
    return run.data.labeled(run.ledger).features()


def unseen(run: Run) -> torch.Tensor:
    """The set that the run is tested on itself."""
    assert run.data.test is not None
    return run.data.test.features()


def test_a_version_goes_on_from_a_runs_model(place: Place, moons: Run) -> None:
    add(place, unseen(moons))
    pulled = place.retrain(**FROM_RUN)
    assert (pulled["event"], pulled["version"]) == ("promoted", 1)
    with place.look() as lineage:
        made, done = (lineage.ledger.step(1, step) for step in ("new_version", "train"))
    assert made is not None
    assert done is not None
    assert (made["base"], made["parent"]) == ("the model of run moons", None)
    assert done["epochs"] == 3, "fine-tuned, not trained from first weights"


def test_what_the_run_has_learned_may_be_trained_on_again(place: Place, moons: Run) -> None:
    add(place, learned(moons), tag="train")
    add(place, unseen(moons), first=100)
    assert place.retrain(**FROM_RUN)["version"] == 1


def test_what_the_run_has_learned_is_not_tested_on(place: Place, moons: Run) -> None:
    add(place, unseen(moons))
    add(place, learned(moons)[:3], first=100, tag="test")
    words = (
        r"run moons has labeled 3 of the \d+ test items, and a model is never tested on what it "
        "was trained on: set base.start to scratch, or base.run_id to a run that labeled none of"
    )
    with pytest.raises(DataError, match=words):
        place.retrain(**FROM_RUN)
    with place.look() as lineage:
        assert lineage.ledger.versions() == {}
    scratch = {**FROM_RUN, "base": {"start": "scratch"}, "training": {"max_training_epochs": 2}}
    learner = {"learner": moons.experiment.learner.model_dump(mode="json")}
    assert place.retrain(**{**scratch, **learner})["event"] == "promoted"


def test_a_run_that_is_the_source_too_must_not_lend_labels_to_the_test_subset(
    place: Place, moons: Run
) -> None:
    source = {"name": "labeled_run", "options": {"run_id": "moons"}}
    shares = [{"name": "train", "share": 0.5}, {"name": "test", "share": 0.5}]
    split = {"subsets": shares, "by": "hash"}
    with pytest.raises(DataError, match=r"run moons has labeled \d+ of the \d+ test items"):
        place.retrain(data={"source": source, "split": split}, **FROM_RUN)


def test_labels_that_came_after_the_model_count_too(place: Place, new_run: Any) -> None:
    run = new_run("moons")
    Drive.iterate(run, 0)
    asked = run.ledger.selected(0)
    with pytest.raises(DataError, match="has labeled 5 of the 5 test items"):
        refuse_leaks(place.root, "moons", run.data.pool.features(asked))


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_the_same_numbers_in_another_type_are_the_same(
    place: Place, moons: Run, kind: torch.dtype
) -> None:
    with pytest.raises(DataError, match="has labeled 4 of the 4 test items"):
        refuse_leaks(place.root, "moons", learned(moons)[:4].to(kind))


def test_other_shapes_are_other_items(place: Place, moons: Run) -> None:
    refuse_leaks(place.root, "moons", torch.zeros(3, 2, 2))
    refuse_leaks(place.root, "moons", torch.zeros(0, 2))


def test_the_run_need_not_be_closed_and_stays_as_it_is(place: Place, moons: Run) -> None:
    before = moons.ledger.label_rows()
    refuse_leaks(place.root, "moons", unseen(moons))
    moons.ledger.set_fact("still", "mine")
    assert moons.ledger.label_rows() == before


# Data sets with `append` -------------------------------------------------------------------------

QUEUE_STYLE = REPOSITORY / "examples" / "queue_style" / "experiment.yaml"


class Texts(torch.utils.data.Dataset[str]):
    """A data set that takes what it is given, and holds no pairs."""

    def __init__(self) -> None:
        self.items = ["a", "b"]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> str:
        return self.items[index]

    def append(self, item: str) -> None:
        """Take an item."""
        self.items.append(item)


@pytest.fixture
def appending(tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    """Makes a run over a data set with `append`."""
    made: list[Run] = []

    def make(pool: str) -> Run:
        changes = (f"data.pool={pool}", f"driver.root_log_dir={tmp_path / 'runs'}")
        made.append(create_run(load_experiment(QUEUE_STYLE, changes), "queues"))
        return made[-1]

    yield make
    for run in made:
        close_run(run.reference)


def test_what_a_data_set_that_appends_holds(
    place: Place, appending: Callable[[str], Run]
) -> None:
    run = appending("examples.queue_style.moons:MoonsDataset")
    data: Any = run.data.train_datapool  # type: ignore[union-attr]
    refuse_leaks(place.root, "queues", data.X[:0])
    with pytest.raises(DataError, match="run queues has labeled 50 of the 1000 test items"):
        refuse_leaks(place.root, "queues", data.X)


def test_what_cannot_be_compared_is_refused(
    place: Place, appending: Callable[[str], Run], component: Callable[..., str]
) -> None:
    appending(component("pool", Texts))
    words = "it cannot be told whether run queues has learned from test items, since its data set"
    with pytest.raises(DataError, match=words):
        refuse_leaks(place.root, "queues", torch.zeros(1, 2))


# Runs that are no base ---------------------------------------------------------------------------


def test_a_run_that_does_not_exist_or_has_not_ended(place: Place, new_run: Any) -> None:
    with pytest.raises(RunNotFoundError, match="there is no run 'nobody'"):
        refuse_leaks(place.root, "nobody", torch.zeros(1, 2))
    run = new_run("moons")
    add(place, unseen(run))
    with pytest.raises(RunError, match="run moons has not ended, so it yields no model yet"):
        place.retrain(**FROM_RUN)
    close_run(run.reference)
