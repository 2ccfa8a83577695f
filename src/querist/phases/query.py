"""The query phase: the samples to label are chosen, and written down before anybody is asked."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import torch

from querist.context import QueryContext
from querist.errors import StrategyError
from querist.faults import crash_point
from querist.pools.combined import CombinedPool
from querist.protocols import GenerativePool, LabelBudgeted
from querist.randomness import generator
from querist.runs.append_data import ItemPool
from querist.runs.committee import Committee, committee_of, votes_alone, wants_committee
from querist.runs.model import bring_model_to
from querist.runs.run import Run
from querist.shared_views import SharedViews
from querist.storage.atomic import sha256
from querist.storage.plain import digest_of
from querist.values import Phase, Selection

_log = logging.getLogger(__name__)


def query(run: Run, iteration: int) -> int:
    """Choose samples and record the selection; returns how many were chosen."""
    if Phase.QUERY in run.ledger.done_phases(iteration):
        if not run.queue.durable and run.queue.empty():
            _hand_over(run)
        return len(run.ledger.selected(iteration))
    started = time.time()
    labels = len(run.labeled(iteration))
    run.log.write(iteration, Phase.QUERY, "start")
    run.tell(iteration, Phase.QUERY, labels=labels)
    bring_model_to(run, iteration)
    committee = None
    strategies = run.in_force(iteration).query
    if wants_committee(strategies) and not votes_alone(run.experiment, strategies):
        committee = committee_of(run, iteration)
    chosen, made = choose(run, iteration, committee)
    keys = [request_key(run, iteration, sample, made.get(sample)) for sample, _, _ in chosen]
    crash_point("query.chosen")
    run.ledger.record_selection(
        iteration,
        chosen,
        keys=None if run.experiment.driver.skip_labeling else keys,
        made={sample: run.data.encode(content) for sample, content in made.items()},
        started=started,
        budget=label_budget(run, iteration),
        committee=None if committee is None else committee.iterations,
    )
    crash_point("query.recorded")
    _hand_over(run)
    seconds = time.time() - started
    run.log.write(iteration, Phase.QUERY, "end", seconds, selected=len(chosen))
    wanted = run.settings(iteration).strategies.budget
    if len(chosen) < wanted:
        _log.info(
            "iteration %d: asked for %d samples, pool and budget left %d",
            iteration,
            wanted,
            len(chosen),
        )
    return len(chosen)


def _hand_over(run: Run) -> None:
    """Put the requests that may be asked for into the queue."""
    if not run.experiment.driver.skip_labeling:
        run.queue.put(run.ledger.open_requests())


def request_key(run: Run, iteration: int, sample: int, made: Any = None) -> str:
    """The key under which a sample's label is asked for, the same whenever it is asked.

    It names the data, the sample, and the source that is in force in the iteration that wants it.
    A sample that was made on the way is named by its content: another run may have made another
    one with the same number.
    """
    source = None if run.label_source is None else run.label_source_of(iteration)
    named = ["", ""] if source is None else [source.identity.name, source.identity.version]
    what = sample if made is None else sha256(run.data.encode(made))
    return digest_of([run.data.fingerprint, run.truth_digest(), *named, what])


def choose(
    run: Run, iteration: int, committee: Committee | None = None
) -> tuple[list[tuple[int, float, str]], dict[int, Any]]:
    """What the query strategies want, in order, sharing the iteration's budget without repeats.

    Returns the chosen (sample, score, strategy), and the content of samples that are new.
    """
    settings = run.settings(iteration)
    pool = run.data.pool
    first_new = pool.made_from + run.ledger.made_count()
    pool.forget_from(first_new)
    for proposal in _propose(run, iteration):
        pool.add(proposal)
    candidates = torch.cat([run.data.unlabeled(run.ledger), torch.arange(first_new, len(pool))])
    chosen: list[tuple[int, float, str]] = []
    left = min(settings.strategies.budget, labels_left(run, iteration))
    shared = SharedViews()
    for position, (name, strategy) in enumerate(run.in_force(iteration).query):
        n = min(left, settings.strategies.query[position].own_number or left)
        if n == 0:
            break
        taken = torch.tensor([sample for sample, _, _ in chosen], dtype=torch.int64)
        unlabeled = candidates[~torch.isin(candidates, taken)]
        context = QueryContext(
            learner=run.learner,
            pool=pool,
            unlabeled=unlabeled,
            labeled=run.labeled(iteration),
            generator=generator(settings.seed, iteration, "query", f"{position} {name}"),
            device=run.device,
            chunk_size=settings.strategies.chunk_size,
            iteration=iteration,
            committee=() if committee is None else committee.members,
            shared=shared,
        )
        selection = strategy.sample(context, n)
        check_selection(name, selection, unlabeled, n)
        indices = selection.indices
        if selection.samples is not None:
            indices = tuple(pool.add(sample) for sample in selection.samples)
        chosen += [(i, s, name) for i, s in zip(indices, selection.scores, strict=True)]
        left -= len(indices)
    return _number_new(pool, chosen, first_new)


def label_budget(run: Run, iteration: int) -> int | None:
    """How many labels there may be, the initial ones included; None = as many as the pool has."""
    budgets = [
        criterion.remaining(0)
        for criterion in run.in_force(iteration).stop
        if isinstance(criterion, LabelBudgeted)
    ]
    return min(budgets, default=None)


def labels_left(run: Run, iteration: int) -> int:
    """How many more labels the budget allows to ask for."""
    budget = label_budget(run, iteration)
    return sys.maxsize if budget is None else max(0, budget - run.ledger.labels_committed_to())


def _propose(run: Run, iteration: int) -> torch.Tensor:
    """Candidates that the pool makes for this iteration."""
    pool = run.data.pool.pool
    if not isinstance(pool, GenerativePool):
        return torch.empty(0)
    source = generator(run.experiment.seed, iteration, "query", "propose")
    proposed = pool.propose(iteration, source)
    good = torch.isfinite(proposed).reshape(len(proposed), -1).all(1)
    if not bool(good.all()):
        raise StrategyError(
            f"proposed features must be finite: {int((~good).sum())} of the {len(proposed)} "
            "samples that the pool proposed have NaN or infinity: check its propose"
        )
    return proposed


def _number_new(
    pool: CombinedPool | ItemPool, chosen: list[tuple[int, float, str]], first_new: int
) -> tuple[list[tuple[int, float, str]], dict[int, Any]]:
    """Forget the new samples that nobody chose, and number the chosen ones without gaps."""
    new = [sample for sample, _, _ in chosen if sample >= first_new]
    contents = [pool.features(torch.tensor([sample]))[0] for sample in new]
    pool.forget_from(first_new)
    renamed = {old: pool.add(content) for old, content in zip(new, contents, strict=True)}
    kept = [(renamed.get(sample, sample), score, name) for sample, score, name in chosen]
    return kept, dict(zip(renamed.values(), contents, strict=True))


def check_selection(name: str, selection: Selection, unlabeled: torch.Tensor, n: int) -> None:
    """Refuse a selection that breaks the contract of query strategies.

    Raises:
        StrategyError: too many, repeated, labeled or unknown samples, or scores that do not fit.
    """
    if len(selection) > n:
        raise StrategyError(f"query {name!r} chose {len(selection)} samples, asked for {n}")
    if len(selection.scores) != len(selection):
        raise StrategyError(
            f"query {name!r} gave {len(selection.scores)} scores for {len(selection)} samples"
        )
    if len(set(selection.indices)) != len(selection.indices):
        raise StrategyError(f"query {name!r} chose a sample twice: {selection.indices}")
    indices = torch.tensor(selection.indices, dtype=torch.int64)
    foreign = indices[~torch.isin(indices, unlabeled)]
    if len(foreign):
        raise StrategyError(
            f"query {name!r} chose samples that are labeled, held back or not in the pool: "
            f"{foreign.tolist()[:5]}"
        )
