"""Which samples are held back, and which are labeled at the start."""

from __future__ import annotations

import torch

from querist.config.data import InitialConfig, SplitConfig
from querist.errors import DataError
from querist.indices import without
from querist.pools.combined import CombinedPool, is_truthful
from querist.protocols import Pool

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def split_pool(
    pool: Pool, config: SplitConfig, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Exact subsets of a pool's indices: `train`, `validation`, `test`, each ascending.

    Counts are the shares rounded to the nearest sample, by class where the split is stratified.

    Raises:
        DataError: nothing would be left to learn from.
    """
    strata = _strata(pool, config.stratify and (config.test > 0 or config.validation > 0))
    parts: dict[str, list[torch.Tensor]] = {VALIDATION: [], TEST: []}
    for stratum in strata:
        order = torch.randperm(len(stratum), generator=generator)
        test = round(config.test * len(stratum))
        validation = round(config.validation * len(stratum))
        parts[TEST].append(stratum[order[:test]])
        parts[VALIDATION].append(stratum[order[test : test + validation]])
    subsets = {name: torch.cat(found).sort().values for name, found in parts.items()}
    # What is left is found without sorting it: it may be nearly all of a large pool.
    held_back = torch.cat(list(subsets.values()))
    subsets = {TRAIN: without(torch.arange(len(pool)), held_back), **subsets}
    if len(subsets[TRAIN]) == 0:
        raise DataError(
            f"data.split leaves none of {len(pool)} samples to learn from: lower test or validation"
        )
    return subsets


def _strata(pool: Pool, stratify: bool) -> list[torch.Tensor]:
    everything = torch.arange(len(pool))
    if not stratify or pool.classes is None or not is_truthful(pool):
        return [everything]
    targets = CombinedPool(pool).targets(everything)
    return [everything[targets == c] for c in range(pool.classes) if bool((targets == c).any())]


def initial_indices(
    pool: CombinedPool, config: InitialConfig, train: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """The samples that are labeled at the start, in the order they were drawn.

    Raises:
        DataError: more than there are, or samples that are held back or do not exist.
    """
    if config.pool is not None:
        return torch.arange(len(pool.pool), pool.made_from)
    if config.indices is not None:
        wanted = torch.tensor(config.indices)
        missing = wanted[~torch.isin(wanted, train)]
        if len(missing) or len(wanted.unique()) != len(wanted):
            raise DataError(
                "data.initial.indices must be different samples of the pool that are not held "
                f"back: {missing.tolist()[:5] or 'some'} are repeated, held back or not there"
            )
        return wanted
    count = config.count if config.count is not None else round((config.share or 0.0) * len(train))
    if not 0 < count <= len(train):
        raise DataError(
            f"data.initial asks for {count} of the {len(train)} samples that are not held back: "
            "ask for at least 1 and at most all of them"
        )
    if config.stratify and pool.classes is not None:
        return _stratified(pool, train, count, generator)
    return train[torch.randperm(len(train), generator=generator)[:count]]


def _stratified(
    pool: CombinedPool, train: torch.Tensor, count: int, generator: torch.Generator
) -> torch.Tensor:
    """`count` samples whose classes have the pool's shares (largest remainders get the rest)."""
    targets = pool.targets(train)
    members = [train[targets == c] for c in range(pool.classes or 0)]
    exact = torch.tensor([count * len(m) / len(train) for m in members], dtype=torch.float64)
    quota = exact.floor().to(torch.int64)
    by_remainder = (exact - quota).argsort(descending=True, stable=True)
    quota[by_remainder[: count - int(quota.sum())]] += 1
    drawn = [
        m[torch.randperm(len(m), generator=generator)[: int(q)]]
        for m, q in zip(members, quota, strict=True)
    ]
    return torch.cat(drawn)
