"""A registered model on disk: made once, opened by one who retrains and by any who look."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.config.retraining import Retraining, build_retraining
from querist.errors import (
    ConfigurationError,
    RunError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
)
from querist.ledger import Ledger
from querist.ledger.models import PROMOTED
from querist.lineage import (
    Lineage,
    LineageReference,
    close_lineage,
    create_or_open,
    is_lineage,
    lineage_folder,
    list_lineages,
    open_lineage,
)
from tests.shared.models import SETTINGS, Place, place_in
from tests.shared.postgres import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]


@pytest.fixture
def settings(tmp_path: Path) -> Retraining:
    content = {**SETTINGS, "root_log_dir": str(tmp_path / "runs")}
    return build_retraining(content, tmp_path / "settings.yaml")


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[LineageReference]:
    """Where the model is; nothing is open at the end."""
    found = LineageReference(model="blobs", root=tmp_path / "runs")
    yield found
    for locked in (True, False):
        close_lineage(found, to_retrain=locked)


@pytest.fixture
def made(settings: Retraining, reference: LineageReference) -> LineageReference:
    """A model that was made, and that nobody has open."""
    create_or_open(settings)
    close_lineage(reference, to_retrain=True)
    return reference


# Made once ---------------------------------------------------------------------------------------


def test_it_is_made_where_it_is_not_there(
    settings: Retraining, reference: LineageReference
) -> None:
    lineage = create_or_open(settings)
    assert lineage.reference == reference
    assert lineage.lock is not None
    text = (reference.folder / "lineage.yaml").read_text()
    assert text.startswith("# querist ")
    assert yaml.safe_load(text)["model"] == "blobs"
    assert lineage.ledger.champion() is None


def test_made_again_it_is_opened(settings: Retraining, made: LineageReference) -> None:
    written = (made.folder / "lineage.yaml").read_bytes()
    with_seed = settings.model_copy(update={"seed": 99})
    lineage = create_or_open(with_seed)
    assert (made.folder / "lineage.yaml").read_bytes() == written, "what it was made of stays"
    assert lineage.ledger.db.fence == 3


def test_it_keeps_its_identity_and_others_have_another(
    settings: Retraining, reference: LineageReference
) -> None:
    first = create_or_open(settings).identity()
    close_lineage(reference, to_retrain=True)
    assert open_lineage(reference, to_retrain=False).identity() == first
    close_lineage(reference, to_retrain=False)
    other = create_or_open(settings.model_copy(update={"model": "other"}))
    assert other.identity() != first
    close_lineage(other.reference, to_retrain=True)


@pytest.mark.parametrize("file", ["notes.txt", "experiment.yaml"])
def test_a_folder_that_is_something_else(
    settings: Retraining, reference: LineageReference, file: str
) -> None:
    reference.folder.mkdir(parents=True)
    (reference.folder / file).write_text("mine")
    words = rf"blobs is there and is no registered model \(it holds '{file}'\): choose another name"
    with pytest.raises(RunExistsError, match=words):
        create_or_open(settings)
    assert [path.name for path in reference.folder.iterdir()] == [file]
    assert (reference.folder / file).read_text() == "mine"


def test_an_empty_folder_is_taken(settings: Retraining, reference: LineageReference) -> None:
    reference.folder.mkdir(parents=True)
    assert is_lineage(create_or_open(settings).reference.folder)


def test_the_ledger_of_a_run_is_not_overwritten(
    settings: Retraining, reference: LineageReference
) -> None:
    reference.folder.mkdir(parents=True)
    ledger = Ledger(reference.folder / "ledger.db")
    ledger.create()
    ledger.set_fact("made", "1")
    ledger.close()
    with pytest.raises(RunExistsError, match="has a run blobs already: choose another id"):
        create_or_open(settings)
    assert not is_lineage(reference.folder)
    again = Ledger(reference.folder / "ledger.db")
    assert again.facts() == {"made": "1"}
    again.close()


def test_a_ledger_that_lost_its_lineage_file_is_not_overwritten(tmp_path: Path) -> None:
    for place in place_in(tmp_path):
        place.retrain()
        (place.reference.folder / "lineage.yaml").unlink()
        (place.reference.folder / "versions").rename(tmp_path / "versions")
        (place.reference.folder / "items.jsonl").rename(tmp_path / "items.jsonl")
        with pytest.raises(RunExistsError, match="has a run blobs already: choose another id"):
            place.pull()
        (tmp_path / "versions").rename(place.reference.folder / "versions")
        with pytest.raises(RunExistsError, match=r"no registered model \(it holds 'versions'\)"):
            place.pull()
        with sqlite3.connect(place.reference.folder / "ledger.db") as ledger:
            assert ledger.execute("SELECT event FROM promotions").fetchall() == [(PROMOTED,)]


def test_what_a_kill_left_of_the_making_is_made_whole(
    settings: Retraining, reference: LineageReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    from querist.lineage import lineage as module

    def killed(name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "crash_point", killed)
        with pytest.raises(KeyboardInterrupt):
            create_or_open(settings)
    assert not is_lineage(reference.folder)
    assert create_or_open(settings).ledger.fact("made") == "1"


def test_in_a_database_that_is_shared(
    settings: Retraining,
    reference: LineageReference,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from querist.runs.open import LEDGER_VARIABLE

    monkeypatch.setenv(LEDGER_VARIABLE, postgres_url)
    identity = create_or_open(settings).identity()
    assert not (reference.folder / "ledger.db").exists()
    close_lineage(reference, to_retrain=True)
    assert open_lineage(reference, to_retrain=False).identity() == identity
    close_lineage(reference, to_retrain=False)
    shutil.rmtree(reference.folder)
    with pytest.raises(RunExistsError, match="has a run blobs already: choose another id"):
        create_or_open(settings)
    assert not is_lineage(reference.folder)


# Opened ------------------------------------------------------------------------------------------


def test_open_it_is_the_same_object(made: LineageReference) -> None:
    looking = open_lineage(made, to_retrain=False)
    assert looking.lock is None
    assert open_lineage(made, to_retrain=False) is looking
    retraining = open_lineage(made, to_retrain=True)
    assert retraining is not looking
    assert open_lineage(made, to_retrain=False) is retraining, "who retrains may look with it"
    close_lineage(made, to_retrain=True)
    assert open_lineage(made, to_retrain=False) is looking
    close_lineage(made, to_retrain=False)
    close_lineage(made, to_retrain=False)
    assert open_lineage(made, to_retrain=False) is not looking


def test_who_looks_takes_no_lease(made: LineageReference) -> None:
    with sqlite3.connect(made.folder / "ledger.db") as ledger:
        before = ledger.execute("SELECT count(*) FROM leases").fetchone()
        open_lineage(made, to_retrain=False)
        assert ledger.execute("SELECT count(*) FROM leases").fetchone() == before


def test_another_flow_of_this_process_retrains_it(
    settings: Retraining, reference: LineageReference
) -> None:
    create_or_open(settings)
    with pytest.raises(RunLockedError, match="worked on by another flow of this process"):
        create_or_open(settings)


def hold(folder: Path, ready: Any) -> None:
    """Retrain a model until told to end."""
    lineage = open_lineage(LineageReference(model=folder.name, root=folder.parent), to_retrain=True)
    ready.send(os.getpid())
    ready.recv()
    lineage.close()


def test_another_process_retrains_it(settings: Retraining, made: LineageReference) -> None:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(made.folder, theirs))
    process.start()
    pid = ours.recv()
    for attempt in (lambda: open_lineage(made, to_retrain=True), lambda: create_or_open(settings)):
        with pytest.raises(RunLockedError, match=f"worked on by process {pid} on host"):
            attempt()
    assert open_lineage(made, to_retrain=False).ledger.champion() is None, "looking needs no lock"
    ours.send("end")
    process.join()
    assert process.exitcode == 0
    assert open_lineage(made, to_retrain=True).lock is not None


def test_one_that_is_not_there(reference: LineageReference) -> None:
    with pytest.raises(RunNotFoundError, match="there is no model 'blobs' in .*: the newest are n"):
        open_lineage(reference, to_retrain=False)
    assert not reference.root.exists()


def test_an_opening_that_fails_lets_go_of_the_lock(made: LineageReference) -> None:
    path = made.folder / "ledger.db"
    path.rename(made.folder / "away.db")
    path.write_bytes(b"no ledger")
    for _ in range(2):
        with pytest.raises(RunError):
            open_lineage(made, to_retrain=True)
    path.unlink()
    (made.folder / "away.db").rename(path)
    assert open_lineage(made, to_retrain=True).lock is not None


# Found -------------------------------------------------------------------------------------------


def test_the_list_has_the_oldest_first_and_models_only(
    settings: Retraining, made: LineageReference
) -> None:
    assert list_lineages(made.root / "nowhere") == []
    other = create_or_open(settings.model_copy(update={"model": "another"}))
    close_lineage(other.reference, to_retrain=True)
    os.utime(made.folder / "lineage.yaml", (1.0, 1.0))
    (made.root / "a_run").mkdir()
    (made.root / "a_run" / "experiment.yaml").touch()
    assert list_lineages(made.root) == ["blobs", "another"]
    assert lineage_folder("blobs", made.root) == made.folder
    with pytest.raises(RunNotFoundError, match="no model 'a_run' in .*: the newest are blobs, an"):
        lineage_folder("a_run", made.root)


@pytest.mark.parametrize("name", ["../blobs", "", "a/b", ".", "a\0b"])
def test_names_do_not_lead_elsewhere(made: LineageReference, name: str) -> None:
    with pytest.raises(ConfigurationError):
        lineage_folder(name, made.root)


def test_where_a_versions_files_are(tmp_path: Path) -> None:
    for place in place_in(tmp_path):
        place.retrain()
        _look(place)


def _look(place: Place) -> None:
    with place.look() as lineage:
        assert isinstance(lineage, Lineage)
        folder = lineage.version_folder(1)
        assert folder == place.root / "blobs" / "versions" / "0001"
        written = yaml.safe_load((folder / "settings.yaml").read_text())
        assert written == lineage.version_settings(1).model_dump(mode="json")
        assert lineage.settings(1).model == "blobs"
        files, manifest = lineage.weights(1)
        assert files
        assert manifest["classes"] == 2
        with pytest.raises(RunError, match="model blobs has no version 2"):
            lineage.weights(2)
