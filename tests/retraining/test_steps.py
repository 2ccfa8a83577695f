"""Split, new version, train, evaluate and compare, one after the other."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from querist.errors import CheckpointError, ConfigurationError, DataError, LearnerError
from querist.lineage import Lineage, close_lineage, open_lineage
from querist.progress import Progress, watched_by
from querist.retraining.chosen import test_items as items_to_test
from querist.retraining.chosen import trained_items
from querist.retraining.compare import stored_verdict
from querist.retraining.model import learner_of
from querist.retraining.steps import STEPS, carry_out
from querist.tracking.spool import TrackingSpool
from tests.shared.models import TORCH, Place, blob


def weights(lineage: Lineage, version: int) -> dict[str, bytes]:
    return lineage.weights(version)[0]


def test_the_split_is_written_down_and_stays(place: Place) -> None:
    assert place.retrain(until="split")["subsets"] == {"train": 36, "validation": 6, "test": 18}
    with place.look() as lineage:
        before = {item.id: item.subset for item in lineage.ledger.items()}
    place.retrain()
    place.add(blob(n) for n in range(100, 140))
    place.retrain()
    with place.look() as lineage:
        after = {item.id: item.subset for item in lineage.ledger.items()}
    assert {name: after[name] for name in before} == before
    assert len(after) == 100


def test_every_item_has_its_tag_in_its_metadata(place: Place) -> None:
    place.retrain(until="split")
    lines = (place.root / "blobs" / "items.jsonl").read_text().splitlines()
    items = {item["id"]: item for item in map(json.loads, lines)}
    with place.look() as lineage:
        subsets = {item.id: item.subset for item in lineage.ledger.items()}
    assert {name: item["metadata"]["system"]["tags"] for name, item in items.items()} == {
        name: {subset: True} for name, subset in subsets.items()
    }
    assert items["i0003"]["metadata"]["site"] == "south"
    assert items["i0003"]["label"] == 1


def test_content_that_changes_under_its_id_is_refused(place: Place) -> None:
    place.retrain()
    path = place.folder / "items" / "items.jsonl"
    first, *rest = path.read_text().splitlines()
    changed = {**json.loads(first), "features": [9.0, 9.0], "label": 1}
    path.write_text("\n".join([json.dumps(changed), *rest]) + "\n")
    with pytest.raises(DataError, match="the content of item 'i0000' is not what it was"):
        place.retrain("x")


def test_an_item_that_is_gone_is_missed(place: Place) -> None:
    place.retrain()
    path = place.folder / "items" / "items.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    place.add([blob(100)])
    with pytest.raises(DataError, match="item 'i0000' is gone from data.source"):
        place.retrain()


def test_a_version_never_learns_from_what_it_is_tested_on(place: Place) -> None:
    place.retrain()
    place.add(blob(n) for n in range(100, 140))
    place.retrain()
    with place.look() as lineage:
        for version in (1, 2):
            learned = set(trained_items(lineage, version))
            settings = lineage.version_settings(version)
            tested = set(items_to_test(lineage, settings, lineage.ledger.answers()))
            assert learned
            assert tested
            assert not learned & tested


def test_the_first_version_needs_a_learner(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="the first version of blobs needs a learner"):
        place.retrain(learner=None)


def test_settings_go_over_those_of_the_base_which_stays_as_it_was(place: Place) -> None:
    place.retrain(**TORCH)
    changed: dict[str, Any] = {"training": {"batch_size": 8}, "learner": None}
    made = place.retrain("x", until="new_version", **changed)
    assert made["parent"] == 1
    with place.look() as lineage:
        assert lineage.version_settings(1).training.batch_size == 16
    assert made["settings"]["training"]["batch_size"] == 8
    assert made["settings"]["training"]["max_training_epochs"] == 4
    assert made["settings"]["learner"]["name"] == "examples.retraining.model:ImageNet"


def test_a_filter_is_inherited(place: Place) -> None:
    north = {"data": {"train_filter": {"site": "north"}}}
    place.retrain(**north)
    place.add(blob(n) for n in range(100, 140))
    place.retrain()
    with place.look() as lineage:
        answers = lineage.ledger.answers()
        for version in (1, 2):
            learned = trained_items(lineage, version)
            assert {answers[item].metadata["site"] for item in learned} == {"north"}


def test_a_filter_that_lets_nothing_through(place: Place) -> None:
    with pytest.raises(DataError, match="no labeled item is in subset 'test' and matches"):
        place.retrain(data={"test_filter": {"site": "west"}})


def test_a_new_version_goes_on_from_the_champions_weights(place: Place) -> None:
    place.retrain(**TORCH)
    place.add(blob(n) for n in range(100, 110))
    made = place.retrain(until="train", **TORCH)
    assert made["epochs"] == 2, "fine-tuning, not training from first weights"
    with place.look() as lineage:
        assert lineage.ledger.version(2).parent == 1
        assert weights(lineage, 1) != weights(lineage, 2)


def test_from_scratch_has_no_parent(place: Place) -> None:
    place.retrain(**TORCH)
    place.add([blob(100)])
    made = place.retrain(until="train", base={"start": "scratch"}, **TORCH)
    assert made["epochs"] == 4
    with place.look() as lineage:
        assert lineage.ledger.version(2).parent is None


def test_from_a_version_by_its_number(place: Place) -> None:
    place.retrain(**TORCH)
    place.retrain("b", when={"new_labels": 0}, **TORCH)
    base = {"start": "version", "version": 1}
    made = place.retrain("c", until="new_version", base=base, when={"new_labels": 0}, **TORCH)
    assert (made["base"], made["parent"]) == ("version 1", 1)


def test_a_learner_that_cannot_take_the_bases_weights_is_refused(place: Place) -> None:
    place.retrain(**TORCH)
    with pytest.raises(ConfigurationError, match="the learner differs from that of version 1"):
        place.retrain("x")


def test_the_same_data_and_seed_give_the_same_bytes(place: Place, tmp_path: Any) -> None:
    from tests.shared.models import place_in

    (tmp_path / "twin").mkdir()
    for twin in place_in(tmp_path / "twin"):
        place.retrain(**TORCH)
        twin.retrain(**TORCH)
        with place.look() as one, twin.look() as other:
            assert weights(one, 1) == weights(other, 1)


def test_the_ledger_has_curve_throughput_and_time(place: Place) -> None:
    told: list[Progress] = []
    with watched_by(told.append):
        done = place.retrain(until="train", **TORCH)
    assert [row[0] for row in done["curve"]] == [1, 2, 3, 4]
    assert done["curve"][-1][1:3] == [done["train_loss"], done["validation_loss"]]
    assert done["samples"] == 4 * done["labels"]
    assert done["samples_per_second"] > 0
    assert {"forward", "backward", "optimizer", "checkpoint"} <= set(done["seconds"])
    assert {progress.run_id for progress in told} == {"blobs version 1"}
    assert [progress.epoch for progress in told if progress.epochs][-1] == 4
    assert told[-1].phase is None


@pytest.mark.parametrize(("points", "events"), [(0, 0), (4, 1), (50, 1)])
def test_the_tracker_gets_the_curve_as_one_event(place: Place, points: int, events: int) -> None:
    tracking = {"enabled": True, "uri": "http://127.0.0.1:9", "training_curves": points}
    many = {**TORCH, "training": {**TORCH["training"], "max_training_epochs": 30}}
    place.retrain(until="train", tracking=tracking, **many)
    with place.look() as lineage:
        said = TrackingSpool(lineage.version_folder(1)).events()
    curves = [event.payload for event in said if event.kind == "curve"]
    assert len(curves) == events
    for curve in curves:
        assert curve["columns"] == ["train.loss", "train.validation_loss", "train.lr"]
        assert len(curve["rows"]) <= points
        assert [curve["rows"][0][0], curve["rows"][-1][0]] == [1, 30]
    (spent,) = (e.payload["values"] for e in said if e.once == "training")
    assert {"train.samples_per_second", "train.seconds.forward"} <= set(spent)


def test_early_stopping_looks_at_the_validation_items(place: Place) -> None:
    torch_ = {**TORCH, "training": {**TORCH["training"], "early_stopping": {"patience": 1}}}
    torch_["training"]["max_training_epochs"] = 200
    done = place.retrain(until="train", **torch_)
    assert done["stopped_early"]
    assert done["validation_loss"] is not None


def test_early_stopping_without_validation_items_is_refused(place: Place) -> None:
    torch_ = {**TORCH, "training": {**TORCH["training"], "early_stopping": {"patience": 1}}}
    shares = [{"name": "train", "share": 0.7}, {"name": "test", "share": 0.3}]
    with pytest.raises(DataError, match="needs items in a subset 'validation'"):
        place.retrain(data={"split": {"subsets": shares}}, **torch_)


def test_both_are_measured_on_the_same_items(place: Place) -> None:
    place.retrain()
    place.add(blob(n) for n in range(100, 160))
    done = place.retrain(until="evaluate")
    assert set(done["metrics"]) == set(done["champion_metrics"]) == {"accuracy", "log_loss"}
    assert done["champion"] == 1
    with place.look() as lineage:
        assert done["champion_metrics"] != lineage.ledger.step(1, "evaluate")["metrics"]  # type: ignore[index]


def test_slices_and_latency_are_compared(place: Place) -> None:
    checks = [
        {"metric": "accuracy", "slice_by": "site", "max_slice_loss": 0.5, "min_slice_size": 2},
        {"metric": "latency"},
    ]
    place.retrain(compare={"checks": checks, "wins": "any"})
    done = place.retrain("x", until="compare", compare={"checks": checks, "wins": "any"},
                         when={"new_labels": 0})  # fmt: skip
    with place.look() as lineage:
        verdict = stored_verdict(lineage, done["comparison"])
    names = [check.metric for check in verdict.checks]
    assert any("north" in name for name in names)
    assert any("south" in name for name in names)
    latency = next(check for check in verdict.checks if check.metric == "latency")
    assert latency.challenger is not None
    assert latency.challenger > 0


def test_the_verdict_lies_beside_the_version(place: Place) -> None:
    done = place.retrain(until="compare")
    folder = place.root / "blobs" / "versions" / "0001"
    content = json.loads((folder / "verdict.json").read_bytes())
    assert content["action"] == done["action"] == "update_model"
    assert content["winning_model"] == 1
    assert "accuracy" in (folder / "verdict.md").read_text()
    assert (folder / "figures" / "verdict.png").stat().st_size > 5_000


def test_a_step_that_is_done_gives_what_it_gave(place: Place) -> None:
    pulled = place.pull()
    assert pulled.retraining is not None
    first = [carry_out(pulled.lineage, step, pulled.retraining) for step in STEPS]
    close_lineage(pulled.lineage, to_retrain=True)
    again = [carry_out(pulled.lineage, step, pulled.retraining) for step in STEPS]
    assert first == again


def test_a_damaged_champion_is_found(place: Place) -> None:
    place.retrain()
    stored = next((place.root / "blobs" / "versions" / "0001" / "step_0001").glob("*.skops"))
    content = bytearray(stored.read_bytes())
    content[100] ^= 1
    stored.write_bytes(content)
    place.add([blob(100)])
    with pytest.raises(CheckpointError, match="is damaged"):
        place.retrain()


def test_a_stored_version_predicts_as_it_did(place: Place) -> None:
    pulled = place.pull(**TORCH)
    lineage = open_lineage(pulled.lineage, to_retrain=True)
    for step in STEPS.values():
        step(lineage, 1)
    features = torch.randn(20, 2)
    before = learner_of(lineage, 1).predict_proba(features)
    close_lineage(pulled.lineage, to_retrain=True)
    with place.look() as again:
        assert torch.equal(learner_of(again, 1).predict_proba(features), before)


def test_a_model_that_does_not_detect_cannot_be_checked_for_boxes(place: Place) -> None:
    checks = [{"metric": "precision_recall", "iou_threshold": 0.5}]
    with pytest.raises((ConfigurationError, LearnerError), match="needs a model that has `detect"):
        place.retrain(compare={"checks": checks, "wins": "all"})


def test_a_version_is_not_tested_on_what_its_base_has_learned(place: Place) -> None:
    place.retrain(**TORCH)
    swapped = {"data": {"train_subset": "test", "test_subset": "train"}}
    with pytest.raises(DataError, match="version 1, from which this one starts, has learned from"):
        place.retrain("x", **swapped, **TORCH)
    done = place.retrain("y", base={"start": "scratch"}, until="new_version", **swapped, **TORCH)
    assert done["parent"] is None


def test_early_stopping_never_looks_at_test_items(place: Place) -> None:
    torch_ = {**TORCH, "training": {**TORCH["training"], "early_stopping": {"patience": 1}}}
    with pytest.raises(DataError, match="may not look at 'validation'"):
        place.retrain(data={"test_subset": "validation"}, **torch_)
