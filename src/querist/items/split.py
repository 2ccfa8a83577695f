"""Which subset an item is in: stable as data grow, and equal content is never in two.

An item's place in a subset is decided once and written down. Nothing that comes later changes it:
neither other items, nor another seed or other shares in the settings.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from querist.config.subsets import SubsetsConfig
from querist.errors import DataError
from querist.items.filters import is_there, value_at
from querist.values import Item

_UNIT = float(2**64)


def assign_subsets(
    items: Sequence[Item],
    config: SubsetsConfig,
    *,
    known: Mapping[str, str],
    known_digests: Mapping[str, str],
) -> dict[str, str]:
    """The subset of every item that has none yet; the order of `items` does not matter.

    What decides: where the item is already; else its tag, the subset of equal content and that of
    its group, which may not contradict each other; else its hash, or what its class (with
    `stratify`) or the whole (with `exact`) lacks most.

    Args:
        items: all labeled items there are, those that are known among them.
        config: the subsets, and how they are shared out.
        known: subset by id, from earlier splits; never changed.
        known_digests: subset by content, of these.

    Raises:
        DataError: a tag that is no subset, several tags, equal content or a group that is tagged
            into two subsets, a group that an item does not have, or a subset that stays empty.
    """
    bundles = _bundles(items, config)
    found: dict[str, str] = {}
    free: list[list[Item]] = []
    for bundle in bundles:
        subset = _fixed(bundle, config, known, known_digests)
        if subset is None:
            free.append(bundle)
        else:
            found |= {item.id: subset for item in bundle if item.id not in known}
    if config.by == "exact" or config.stratify:
        found |= _where_most_is_missing(items, free, config, {**known, **found})
    else:
        for bundle in free:
            subset = _by_hash(_hash(config, bundle), config)
            found |= {item.id: subset for item in bundle}
    _check_none_is_empty(items, config, {**known, **found})
    return found


def tag_of(metadata: Mapping[str, Any]) -> str | None:
    """The subset that metadata name under `system.tags`; None where they name none.

    Raises:
        DataError: they name several.
    """
    tags = value_at(metadata, ["system", "tags"])
    if not is_there(tags) or not isinstance(tags, Mapping):
        return None
    named = sorted(str(name) for name, value in tags.items() if value is True)
    if len(named) > 1:
        raise DataError(
            f"an item has one subset, not the tags {' and '.join(named)}: remove all but one"
        )
    return named[0] if named else None


def tagged(metadata: Mapping[str, Any], subset: str) -> dict[str, Any]:
    """A copy of metadata that name `subset`, and no other one."""
    copied = copy.deepcopy(dict(metadata))
    system = copied.get("system")
    copied["system"] = {**(system if isinstance(system, Mapping) else {}), "tags": {subset: True}}
    return copied


def _bundles(items: Sequence[Item], config: SubsetsConfig) -> list[list[Item]]:
    """Items that must stay together: equal content, and the same group; in an order of their own.

    Joined transitively: a duplicate in two groups joins the groups.
    """
    parent: dict[Any, Any] = {}

    def root(key: Any) -> Any:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for item in items:
        keys = [("digest", item.digest)]
        if config.group is not None:
            keys.append(("group", _group(item, config.group)))
        for key in keys:
            parent[root(("item", item.id))] = root(key)
    together: dict[Any, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.id):
        together[root(("item", item.id))].append(item)
    return sorted(together.values(), key=lambda bundle: bundle[0].id)


def _group(item: Item, key: str) -> str:
    value = value_at(item.metadata, key.split("."))
    if not is_there(value) or value is None or value != value:  # NaN is how tables say "missing"
        raise DataError(
            f"item {item.id!r} has no {key!r} in its metadata, by which items are grouped: add it, "
            "or remove split.group"
        )
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    """A value with one way to write each number: 7.0 is 7, as a table with gaps makes it."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _fixed(
    bundle: Sequence[Item],
    config: SubsetsConfig,
    known: Mapping[str, str],
    known_digests: Mapping[str, str],
) -> str | None:
    """The subset that a bundle must be in, by what is known of its items and by their tags."""
    places = {known[item.id]: item.id for item in reversed(bundle) if item.id in known}
    for item in bundle:
        if item.id in known:
            continue
        try:
            tag = tag_of(item.metadata)
        except DataError as error:
            raise DataError(f"item {item.id!r}: {error}") from None
        if tag is None:
            continue
        if tag not in config.shares:
            known_names = ", ".join(config.shares)
            raise DataError(
                f"item {item.id!r} is tagged {tag!r}, and the subsets are {known_names}: correct "
                "the tag, or add the subset"
            )
        places.setdefault(tag, item.id)
    for item in bundle:  # last: where the earlier item is at hand, a contradiction names that one
        if item.digest in known_digests:
            places.setdefault(known_digests[item.digest], f"equal to {item.id}")
    if len(places) > 1:
        (one, first), (other, second), *_ = sorted(places.items())
        raise DataError(
            f"items {first!r} ({one}) and {second!r} ({other}) have equal content or one group and "
            "would be in two subsets: correct a tag, or remove one of them"
        )
    return next(iter(places), None)


def _hash(config: SubsetsConfig, bundle: Sequence[Item]) -> float:
    """A number in 0 .. 1 that depends on the seed, and on what keeps the bundle together.

    Without a group the content is that, so that equal content of later times finds the same place.
    """
    first = bundle[0]
    if config.group is not None:
        what = min(_group(item, config.group) for item in bundle)
    else:
        what = first.id if len(bundle) == 1 else min(item.id for item in bundle)
    digest = hashlib.sha256(f"{config.seed}\x1f{what}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / _UNIT


def _by_hash(at: float, config: SubsetsConfig) -> str:
    """The subset whose part of 0 .. 1 a hash falls into."""
    upper = 0.0
    for name, share in config.shares.items():
        upper += share
        if at < upper:
            return name
    return name


def _where_most_is_missing(
    items: Sequence[Item],
    free: Sequence[list[Item]],
    config: SubsetsConfig,
    placed: Mapping[str, str],
) -> dict[str, str]:
    """Bundle after bundle, in the order of their hashes, to the subset that lacks most.

    What a subset lacks is its share of all items, by class with `stratify`, less what it has.
    """
    names = list(config.shares)
    totals: dict[str, int] = defaultdict(int)
    has: dict[tuple[str, str], int] = defaultdict(int)
    for item in items:
        stratum = _stratum(item, config)
        totals[stratum] += 1
        if item.id in placed:
            has[stratum, placed[item.id]] += 1
    found: dict[str, str] = {}
    # Large bundles first: the small ones then even out what they leave.
    for bundle in sorted(free, key=lambda b: (-len(b), _hash(config, b), b[0].id)):
        strata = [_stratum(item, config) for item in bundle]
        missing = {
            name: sum(config.shares[name] * totals[s] - has[s, name] for s in strata)
            for name in names
        }
        subset = max(names, key=lambda name: (missing[name], -names.index(name)))
        for item, stratum in zip(bundle, strata, strict=True):
            found[item.id] = subset
            has[stratum, subset] += 1
    return found


def _stratum(item: Item, config: SubsetsConfig) -> str:
    if not config.stratify:
        return ""
    if item.label is None:
        raise DataError(
            f"item {item.id!r} has no label, by which the split is stratified: label it, or set "
            "split.stratify to false"
        )
    if not isinstance(item.label, int):
        raise DataError(
            f"a split is stratified by classes, and the label of item {item.id!r} is "
            f"{item.label!r:.80}: set split.stratify to false"
        )
    return json.dumps(item.label)


def _check_none_is_empty(
    items: Sequence[Item], config: SubsetsConfig, placed: Mapping[str, str]
) -> None:
    present = {placed[item.id] for item in items}
    for name, share in config.shares.items():
        if name not in present:
            raise DataError(
                f"subset {name!r} of {len(items)} items is empty with a share of {share:g}: raise "
                "it, or wait for more items"
            )
