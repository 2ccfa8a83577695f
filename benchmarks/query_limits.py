"""What this machine can do at most, and what a query strategy cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from query_inputs import CLASSES, LABELED, MODELS, WIDTH

CACHED = 2**17


@dataclass(frozen=True)
class Limits:
    """Measured with the threads of torch.

    Attributes:
        bytes: read from memory a second, by a sum.
        logarithms: a second, of numbers in cache.
        flops: of a matrix product in float32 with 128 columns.
        bfloat16_flops: of the same in bfloat16.
    """

    bytes: float
    logarithms: float
    flops: float
    bfloat16_flops: float


def fastest(run: Callable[[], object], repeats: int = 7) -> float:
    """Seconds of the fastest of several runs."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


def measure() -> Limits:
    """The limits of this machine, now."""
    large = torch.rand(10**8)
    cached = torch.rand(CACHED) + 0.1
    out = torch.empty_like(cached)
    logarithms = fastest(lambda: [torch.log(cached, out=out) for _ in range(100)])
    rows, centers = torch.randn(8192, WIDTH), torch.randn(1024, WIDTH)
    products = torch.empty(8192, 1024)
    flops = 2 * products.numel() * WIDTH
    exact = fastest(lambda: torch.mm(rows, centers.T, out=products))
    coarse_rows, coarse = rows.bfloat16(), centers.bfloat16()
    coarse_products = products.bfloat16()
    rough = fastest(lambda: torch.mm(coarse_rows, coarse.T, out=coarse_products))
    return Limits(
        bytes=4 * len(large) / fastest(large.sum),
        logarithms=100 * CACHED / logarithms,
        flops=flops / exact,
        bfloat16_flops=flops / rough,
    )


def at_least(name: str, n: int, k: int, limits: Limits) -> float | None:
    """Seconds that no program needs less than, in float32; None where nobody worked it out.

    The larger of reading the inputs once, and of what must be computed: logarithms, or distances
    from every candidate to every labeled and picked sample by a matrix product.
    """
    read = {
        "margin": CLASSES, "least_confidence": CLASSES, "distance_to_boundary": CLASSES,
        "entropy": CLASSES, "bald": MODELS * CLASSES, "mean_std": MODELS * CLASSES,
        "variation_ratios": MODELS * CLASSES, "k_center": WIDTH, "k_means_plus_plus": WIDTH,
        "badge": WIDTH + CLASSES,
    }.get(name)  # fmt: skip
    if read is None:
        return None
    computed = {
        "entropy": n * CLASSES / limits.logarithms,
        "bald": n * MODELS * CLASSES / limits.logarithms,
        "k_center": 2 * n * (LABELED + k) * WIDTH / limits.flops,
        "k_means_plus_plus": 2 * n * LABELED * WIDTH / limits.flops,
    }.get(name, 0.0)
    return max(4 * n * read / limits.bytes, computed)
