"""Learners of one parallel run vote on what each of them asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from querist import phases
from querist.config.load import build_experiment, merge
from querist.config.parallel import build_parallel
from querist.errors import ConfigurationError, StrategyError
from querist.runs import Run, close_run, create_run
from querist.runs.checkpoints import MANIFEST
from querist.runs.committee import committee_of
from querist.runs.open import check_components
from querist.runs.parallel import ParallelRun
from querist.values import Phase
from tests.shared.runs import BASE, iterate, reopened

VOTING = {"strategies": {"query": {"name": "vote_entropy", "n": 5}}}
NUMBERS = {
    "data": {
        "pool": {"name": "tests.runs.test_committee:slope"},
        "initial": {"stratify": False},
        "split": {"test": 0.2},
    },
    "learner": {"name": "sklearn", "options": {"estimator": "DecisionTreeRegressor"}},
    "strategies": {"query": {"name": "committee_variance", "n": 5}, "metrology": "mse"},
}


class Several:
    """A parallel run whose learners are run by hand."""

    def __init__(self, root: Path, learners: list[dict[str, Any]], base: dict[str, Any]) -> None:
        content = merge(merge(BASE, {"driver": {"root_log_dir": str(root)}}), base)
        self.parallel = ParallelRun(
            build_parallel({**content, "learners": learners}, "x.yaml"), "several"
        )
        self.made: list[Run] = []

    def run(self, name: str) -> Run:
        experiment = self.parallel.experiment.experiment(name, "several")
        driver = experiment.driver.model_copy(update={"root_log_dir": self.parallel.reference.root})
        run = create_run(
            experiment.model_copy(update={"driver": driver}), self.parallel.run_of(name).run_id
        )
        self.made.append(run)
        return run

    def close(self) -> None:
        for run in self.made:
            close_run(run.reference)
        self.parallel.close()


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Callable[..., Several]]:
    made: list[Several] = []

    def make(*learners: dict[str, Any], **base: Any) -> Several:
        made.append(Several(tmp_path / "runs", list(learners), merge(VOTING, base)))
        return made[-1]

    yield make
    for one in made:
        one.close()


NAMES = ({"name": "fast"}, {"name": "slow"}, {"name": "mine"})


def outcome(run: Run, iteration: int) -> dict[str, Any]:
    found = run.ledger.phase_outcome(iteration, Phase.QUERY)
    assert found is not None
    return found


def test_siblings_vote_and_it_is_on_record(several: Any, caplog: Any) -> None:
    all_of = several(*NAMES)
    fast, slow = all_of.run("fast"), all_of.run("slow")
    iterate(fast, 0)
    assert outcome(fast, 0) == {"selected": 5, "committee": {}}  # nobody else is trained
    for iteration in (1, 2):
        iterate(fast, iteration)
    iterate(slow, 0)
    assert outcome(slow, 0) == {"selected": 5, "committee": {"fast": 0}}  # as it was then
    mine = all_of.run("mine")
    with caplog.at_level(logging.INFO):
        for iteration in (0, 1):
            iterate(mine, iteration)
    assert outcome(mine, 0)["committee"] == {"fast": 0, "slow": 0}
    assert outcome(mine, 1)["committee"] == {"fast": 1, "slow": 0}
    assert "iteration 1: votes of fast (iteration 1), slow (iteration 0)" in caplog.text


def test_the_selection_is_what_the_models_on_disk_vote_for(several: Any) -> None:
    from querist.learners.restore import restore_learner

    all_of = several(*NAMES, strategies={"query": {"name": "consensus_kl", "n": 5}})
    fast, slow, mine = (all_of.run(name) for name in ("fast", "slow", "mine"))
    iterate(fast, 0)
    iterate(slow, 0)
    candidates = mine.data.unlabeled(mine.ledger)
    iterate(mine, 0)
    features = mine.data.pool.features(candidates)
    members = np.stack(
        [
            restore_learner(run.reference.folder / "experiment.yaml", run.checkpoints.path(0))
            .predict_proba(features)
            .double()
            .numpy()
            for run in (mine, fast, slow)
        ]
    )
    mean = members.mean(0)
    scores = (members * np.log(members / mean)).sum(2).mean(0)
    best = candidates.numpy()[np.argsort(-scores, kind="stable")[:5]]
    assert mine.ledger.selected(0).tolist() == best.tolist()


def test_numbers_are_voted_on(several: Any) -> None:
    all_of = several(
        {"name": "a"},
        {"name": "b", "learner": {"name": "sklearn", "options": {"estimator": "Ridge"}}},
        **NUMBERS,
    )
    a, b = all_of.run("a"), all_of.run("b")
    iterate(a, 0)
    iterate(b, 0)
    assert outcome(b, 0) == {"selected": 5, "committee": {"a": 0}}


def test_a_run_that_is_resumed_does_not_vote_again(several: Any) -> None:
    all_of = several({"name": "fast"}, {"name": "mine"})
    mine = all_of.run("mine")
    for phase in (phases.train, phases.metrology, phases.query):
        phase(mine, 0)
    chosen = mine.ledger.selected(0).tolist()
    iterate(all_of.run("fast"), 0)
    mine = reopened(mine)
    iterate(mine, 0)
    assert mine.ledger.selected(0).tolist() == chosen
    assert outcome(mine, 0) == {"selected": 5, "committee": {}}
    iterate(mine, 1)
    assert outcome(mine, 1)["committee"] == {"fast": 0}


def test_a_damaged_checkpoint_is_passed_over_and_heard_about(several: Any, caplog: Any) -> None:
    all_of = several({"name": "fast"}, {"name": "mine"})
    fast, mine = all_of.run("fast"), all_of.run("mine")
    for iteration in (0, 1):
        iterate(fast, iteration)
    weights = next(fast.checkpoints.path(1).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    iterate(mine, 0)
    iterate(mine, 1)
    assert outcome(mine, 1)["committee"] == {"fast": 0}
    assert "learner fast: checkpoint" in caplog.text
    assert "does not have the SHA-256 of its manifest; the one before votes" in caplog.text
    (fast.checkpoints.path(0) / MANIFEST).write_text("{}")
    assert committee_of(mine, 1).iterations == {}
    assert "its manifest does not have the SHA-256 of the ledger" in caplog.text


def test_what_is_just_being_written_does_not_count_yet(several: Any, caplog: Any) -> None:
    all_of = several({"name": "fast"}, {"name": "mine"})
    fast, mine = all_of.run("fast"), all_of.run("mine")
    iterate(fast, 0)
    half = fast.checkpoints.path(1).with_name(".tmp-step_0001")
    half.mkdir()
    (half / "half").write_bytes(b"x")
    whole = fast.checkpoints.path(2)  # renamed, and not in the ledger yet
    whole.mkdir()
    for file in fast.checkpoints.path(0).iterdir():
        (whole / file.name).write_bytes(file.read_bytes())
    assert committee_of(mine, 5).iterations == {"fast": 0}
    assert "learner fast" not in caplog.text


def test_siblings_that_work_at_the_same_time_are_not_disturbed(
    several: Any, tmp_path: Path
) -> None:
    """Their folders are as if nobody had looked; and each looks while the other one trains."""
    from concurrent.futures import ThreadPoolExecutor

    all_of = several({"name": "a"}, {"name": "b"}, driver={"share_labels": True})
    runs = [all_of.run(name) for name in "ab"]
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda run: [iterate(run, i) for i in range(3)], runs):
            pass
    for run, other in zip(runs, "ba", strict=True):
        for iteration in range(3):
            voted = outcome(run, iteration)["committee"].get(other, 0)
            assert 0 <= voted <= iteration
        assert reopened(run).ledger.next_iteration() == 3


def test_looking_changes_nothing(several: Any) -> None:
    all_of = several({"name": "fast"}, {"name": "mine"}, driver={"share_labels": False})
    fast, mine = all_of.run("fast"), all_of.run("mine")
    iterate(fast, 0)
    iterate(mine, 0)
    close_run(fast.reference)
    before = files(fast.reference.folder)
    assert committee_of(mine, 0).iterations == {"fast": 0}
    assert files(fast.reference.folder) == before


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_whoever_keeps_no_old_checkpoints_does_not_vote_on_them(several: Any, caplog: Any) -> None:
    all_of = several({"name": "fast", "driver": {"checkpoint_interval": 0}}, {"name": "mine"})
    fast, mine = all_of.run("fast"), all_of.run("mine")
    for iteration in range(3):
        iterate(fast, iteration)
    iterate(mine, 0)
    assert outcome(mine, 0)["committee"] == {}
    assert "learner fast does not vote: it has no checkpoint up to iteration 0" in caplog.text


def test_nobody_is_asked_where_no_strategy_wants_votes(several: Any) -> None:
    all_of = several({"name": "fast"}, {"name": "mine", "strategies": {"query": "margin"}})
    mine = all_of.run("mine")
    iterate(mine, 0)
    assert outcome(mine, 0) == {"selected": 10}


def test_voting_and_other_strategies_share_a_budget(several: Any) -> None:
    query = [{"name": "vote_entropy", "n": 3}, {"name": "margin", "n": 2}]
    all_of = several({"name": "fast"}, {"name": "mine"}, strategies={"query": query})
    fast, mine = all_of.run("fast"), all_of.run("mine")
    iterate(fast, 0)
    iterate(mine, 0)
    assert outcome(mine, 0) == {"selected": 5, "committee": {"fast": 0}}


@pytest.mark.parametrize("name", ["vote_entropy", "consensus_kl", "disagreement"])
@pytest.mark.parametrize("committee", ["auto", "models"])
def test_an_ensemble_votes_on_its_own_in_a_run_of_its_own(
    new_run: Any, name: str, committee: str
) -> None:
    query = {"name": name, "n": 5, "options": {"committee": committee}}
    learner = {"name": "ensemble", "options": {"member": BASE["learner"]["name"], "n": 3}}
    run = new_run("own", strategies={"query": query}, learner=learner)
    for iteration in range(2):
        iterate(run, iteration)
    assert outcome(run, 1) == {"selected": 5}
    run = reopened(run)
    iterate(run, 2)
    assert len(run.ledger.selected(2)) == 5


def test_a_single_learner_of_several_models_votes_on_its_own(several: Any) -> None:
    learner = {"name": "ensemble", "options": {"member": BASE["learner"]["name"], "n": 3}}
    mine = several({"name": "mine"}, learner=learner).run("mine")
    iterate(mine, 0)
    assert outcome(mine, 0) == {"selected": 5, "committee": {}}


# What cannot vote ---------------------------------------------------------------------------------


def test_a_run_without_a_parent_is_refused_when_it_is_read() -> None:
    query = {"name": "vote_entropy", "n": 5, "options": {"committee": "learners"}}
    with pytest.raises(ConfigurationError, match="^vote_entropy needs other learners: run"):
        check_components(build_experiment(merge(BASE, {"strategies": {"query": query}})))


def test_a_run_of_one_model_is_refused_before_it_is_made(new_run: Any, experiment: Any) -> None:
    said = "^vote_entropy needs other learners or a learner of several models, and here is one"
    with pytest.raises(ConfigurationError, match=said):
        new_run("lonely", **VOTING)
    query = {"name": "vote_entropy", "n": 5, "options": {"committee": "models"}}
    with pytest.raises(StrategyError, match="'vote_entropy' needs the learner's probability samp"):
        new_run("lonely", strategies={"query": query})
    assert not (experiment().driver.root_log_dir / "lonely").exists()


def test_a_parent_that_is_not_there_is_refused(new_run: Any, experiment: Any) -> None:
    with pytest.raises(ConfigurationError, match="parallel run gone, which is not in"):
        new_run("lonely", **VOTING, driver={"parent": "gone"})
    assert not (experiment().driver.root_log_dir / "lonely").exists()


@pytest.mark.parametrize(
    ("committee", "said"),
    [
        ("auto", "needs other learners or a learner of several models"),
        ("learners", "parallel run several has a single one: add one"),
    ],
)
def test_a_single_learner_is_refused(several: Any, committee: str, said: str) -> None:
    query = {"name": "vote_entropy", "n": 5, "options": {"committee": committee}}
    with pytest.raises(ConfigurationError, match=said):
        several({"name": "mine"}, strategies={"query": query}).run("mine")


def test_another_pool_is_refused_when_the_run_is_made(several: Any) -> None:
    all_of = several({"name": "fast"}, {"name": "mine", "data": {"seed": 5}})
    all_of.run("fast")
    with pytest.raises(ConfigurationError, match="learner fast cannot vote, its pool is another"):
        all_of.run("mine")
    assert not (all_of.parallel.run_of("mine").folder / "experiment.yaml").exists()


def test_another_pool_that_comes_later_is_refused_at_the_query_and_when_opened(
    several: Any,
) -> None:
    other = {"data": {"seed": 5}, "strategies": {"query": "margin"}}
    all_of = several({"name": "mine"}, {"name": "late", **other})
    mine = all_of.run("mine")
    all_of.run("late")
    with pytest.raises(ConfigurationError, match="learner late cannot vote, its pool is another"):
        iterate(mine, 0)
    with pytest.raises(ConfigurationError, match="learner late cannot vote, its pool is another"):
        reopened(mine)


@pytest.mark.parametrize(
    ("pool", "learner", "said"),
    [
        ("three", "LogisticRegression", "it predicts 3 classes where this one predicts 2 classes"),
        ("slope", "LinearRegression", "it predicts numbers where this one predicts 2 classes"),
    ],
)
def test_another_task_or_other_classes_are_refused(
    several: Any, pool: str, learner: str, said: str
) -> None:
    other = {
        "data": {
            "pool": {"name": f"tests.runs.test_committee:{pool}"},
            "initial": {"stratify": pool != "slope"},
        },
        "learner": {"name": "sklearn", "options": {"estimator": learner}},
        "strategies": {"query": "random", "metrology": "mse" if pool == "slope" else "f1"},
    }
    all_of = several(
        {"name": "mine"},
        {"name": "other", **other},
        data={"pool": {"name": "tests.runs.test_committee:two"}, "split": {"test": 0.2}},
        learner={"name": "sklearn", "options": {"estimator": "LogisticRegression"}},
    )
    iterate(all_of.run("other"), 0)
    with pytest.raises(ConfigurationError, match=f"learner other cannot vote, {said}: give all"):
        iterate(all_of.run("mine"), 0)


def test_a_learner_made_of_programs_is_refused(several: Any, component: Any) -> None:
    def programs() -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression()

    programs.portable = False  # type: ignore[attr-defined]
    other = {"learner": {"name": component("learner", programs)}, "strategies": {"query": "random"}}
    all_of = several({"name": "other", **other}, {"name": "mine"})
    all_of.run("other")
    with pytest.raises(ConfigurationError, match="learner other cannot vote, its predictions are"):
        all_of.run("mine")


def test_a_run_that_was_taken_out_of_its_parallel_run_can_be_opened(several: Any) -> None:
    all_of = several({"name": "fast"}, {"name": "mine"}, driver={"share_labels": False})
    mine = all_of.run("mine")
    iterate(mine, 0)
    (all_of.parallel.folder / "parallel.yaml").unlink()
    mine = reopened(mine)
    with pytest.raises(ConfigurationError, match="parallel run several, which is not in"):
        iterate(mine, 1)


def _pool(targets: torch.Tensor, classes: int | None) -> Any:
    from querist.pools.tensor_pool import TensorPool

    features = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    return TensorPool(features, targets, classes=classes)


def two() -> Any:
    return _pool(torch.arange(60) % 2, 2)


def three() -> Any:
    return _pool(torch.arange(60) % 3, 3)


def slope() -> Any:
    return _pool(torch.arange(60) / 10, None)


@pytest.fixture(autouse=True)
def _own_pools_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "tests.runs")
