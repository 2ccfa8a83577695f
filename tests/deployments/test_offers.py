"""Files as deployments: recognised by their content, with their meaning kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from querist.deployments.checks import check_offer
from querist.deployments.offers import label_run_of, offer_of, offers_of, without_collection
from querist.deployments.served_flows import served_flow
from querist.errors import ConfigurationError

from ..conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
FILES = {
    "two_moons/experiment.yaml": "active_learning/two-moons",
    "two_moons/comparison.yaml": "comparison/two-moons comparison",
    "parallel/experiment.yaml": "parallel_learners/surrogate",
    "retraining/digits.yaml": "retraining/digits",
}


@pytest.mark.parametrize(("file", "name"), FILES.items())
def test_the_parameters_say_what_the_file_says(
    file: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)  # where the scripts are that the examples run
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", ".")
    offer = offer_of(EXAMPLES / file)
    assert offer.full_name == name
    check_offer(offer)
    ((key, _),) = offer.parameters.items()
    got = served_flow(offer.flow).validate_parameters(offer.parameters)[key]
    assert got == offer.settings
    assert got.model_dump(exclude_unset=True) == offer.settings.model_dump(exclude_unset=True)


def test_whose_labels_a_retraining_learns() -> None:
    collects = offer_of(EXAMPLES / "retraining" / "digits.yaml")
    assert label_run_of(collects) == "digits-labels"
    rested = without_collection(collects)
    assert rested is not None
    assert rested["settings"]["collect"] is None
    moons = offer_of(EXAMPLES / "two_moons" / "experiment.yaml")
    assert label_run_of(moons) is None


def write(folder: Path, source: str) -> Path:
    path = folder / "model.yaml"
    path.write_text(f"model: m\ndata: {{source: {source}}}\nlearner: sklearn\n")
    return path


def test_labels_of_a_run_that_others_make(tmp_path: Path) -> None:
    theirs = offer_of(write(tmp_path, "{name: labeled_run, options: {run_id: r}}"))
    assert label_run_of(theirs) == "r"
    assert without_collection(theirs) is None
    assert label_run_of(offer_of(write(tmp_path, "digits"))) is None


def test_names_that_prefect_or_we_cannot_have(tmp_path: Path) -> None:
    experiment = (EXAMPLES / "two_moons" / "experiment.yaml").read_text()
    path = tmp_path / "e.yaml"
    path.write_text(experiment.replace("name: two-moons", "name: a/b & c", 1))
    (offer,) = offers_of([path])
    assert offer.full_name == "active_learning/a-b - c"
    path.write_text(experiment.replace("name: two-moons", "name: active_learning", 1))
    with pytest.raises(ConfigurationError, match="is the name of a flow"):
        offers_of([path])
    with pytest.raises(ConfigurationError, match="are both the deployment retraining/m: rename"):
        offers_of([write(tmp_path, "digits")] * 2)
