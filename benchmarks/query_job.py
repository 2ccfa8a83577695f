"""One strategy on one pool, in a process of its own: prints seconds and bytes as JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from query_inputs import Inputs, context_of
from query_limits import measure

import querist.strategies  # noqa: F401
from querist.config.training import TrainingConfig
from querist.context import QueryContext
from querist.learners import TorchLearner
from querist.pools import LabeledSet
from querist.pools.npy import npy
from querist.registry import build
from querist.training.loop import DefaultLoop
from querist.views import needs_of


def held(what: str) -> int:
    """Bytes of memory in use now, `VmRSS`, or at most since the last reset, `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))


def forget_peak() -> None:
    """From now on `VmHWM` is what was in use at most from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def strategy(name: str, size: int, k: int, seconds: float) -> dict[str, float]:
    """The fastest of runs that take `seconds` together, after one that does not count."""
    chosen = build("query", name, {})
    wants = bool(getattr(chosen, "wants_committee", False))
    context = context_of(Inputs(size), needs_of(chosen), wants)
    before = held("VmRSS")
    forget_peak()
    found: list[float] = []
    while not found or (len(found) < 8 and sum(found) < seconds):
        generator = torch.Generator().manual_seed(0)
        started = time.perf_counter()
        chosen.sample(replace(context, generator=generator), k)
        found.append(time.perf_counter() - started)
    return {"seconds": min(found), "runs": len(found), "bytes": held("VmHWM") - before}


def mapped(name: str, path: str, k: int) -> dict[str, float]:
    """A pool in a file, a real learner, one pass: what a user waits for."""
    started = time.perf_counter()
    pool = npy(path)
    settings = TrainingConfig(device="cpu")
    first = pool.features(torch.arange(1))
    torch.manual_seed(0)
    learner = TorchLearner(
        torch.nn.Linear(first.shape[1], 10), classes=10, sample=first, settings=settings,
        loop=DefaultLoop(),
    )  # fmt: skip
    none = torch.empty(0, dtype=torch.int64)
    context = QueryContext(
        learner=learner, pool=pool, unlabeled=torch.arange(len(pool)),
        labeled=LabeledSet(pool, none, none), generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"), chunk_size=65536, iteration=1,
    )  # fmt: skip
    build("query", name, {}).sample(context, k)
    return {"seconds": time.perf_counter() - started, "bytes": held("VmHWM")}


def make(path: str, size: int) -> dict[str, float]:
    """A file of `(size, 16)` float32."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(size, 16))
    numbers = np.random.default_rng(0)
    for begin in range(0, size, 10**5):
        array[begin : begin + 10**5] = numbers.standard_normal((min(10**5, size - begin), 16))
    array.flush()
    return {"bytes": Path(path).stat().st_size}


def main() -> None:
    """Run what the arguments say."""
    what, *rest = sys.argv[1:]
    if what == "limits":
        print(json.dumps(asdict(measure())))
    elif what == "strategy":
        print(json.dumps(strategy(rest[0], int(rest[1]), int(rest[2]), float(rest[3]))))
    elif what == "mapped":
        print(json.dumps(mapped(rest[0], rest[1], int(rest[2]))))
    else:
        print(json.dumps(make(rest[0], int(rest[1]))))


if __name__ == "__main__":
    main()
