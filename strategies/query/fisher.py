"""Fisher information of a last layer, and what a batch of samples makes of it.

A sample has inputs h of the layer, and roots S of the curvature in its outputs:
S Sᵀ = diag(p) - p pᵀ. Its Fisher information is V Vᵀ with V = S ⊗ h, whatever its label. V
itself is built for one sample at a time, everything else works on S and h.

Shapes: n samples, c outputs (1 for two classes), d inputs of the layer, P = c · d weights, r
columns of S. All in double precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from querist.learners.curvature import root_of_sigmoid, root_of_softmax

_NUMBERS = 2**22
"""At once in passes over candidates (32 MB)."""


@dataclass(frozen=True)
class Roots:
    """Samples by their factors.

    Attributes:
        roots: S of each sample `(n, c, r)`.
        inputs: h of each sample `(n, d)`.
    """

    roots: torch.Tensor
    inputs: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def columns(self, at: int) -> torch.Tensor:
        """V of one sample `(P, r)`."""
        return torch.einsum("cr,d->cdr", self.roots[at], self.inputs[at]).flatten(0, 1)

    def parts(self) -> Iterable[slice]:
        """Slices of samples of which c² d numbers may be held at once."""
        width = self.roots.shape[1] * max(self.roots.shape[2], self.inputs.shape[1])
        rows = max(1, _NUMBERS // max(1, width))
        return (slice(begin, begin + rows) for begin in range(0, len(self), rows))


def factors(
    probabilities: torch.Tensor, inputs: torch.Tensor, directions: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Roots S `(n, c, r)` and inputs `(n, d)` of samples.

    Args:
        probabilities: of the classes `(n, c)`; two classes have one output, that of a sigmoid.
        inputs: of the layer `(n, d)`.
        directions: which the inputs are projected on `(d, e)`.
    """
    proba = probabilities.to(inputs.device, torch.float64).clamp(0, 1)
    roots = root_of_sigmoid(proba[:, -1]) if proba.shape[1] <= 2 else root_of_softmax(proba)
    x = inputs.double()
    return roots, x if directions is None else x @ directions


def add_fisher(total: torch.Tensor | None, roots: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The sum of the samples' information and `total`, as blocks `(c, c, d, d)`, the upper ones."""
    c, d = roots.shape[1], x.shape[1]
    if total is None:
        total = torch.zeros(c, c, d, d, dtype=torch.float64, device=x.device)
    curvature = roots @ roots.mT
    for a in range(c):
        for b in range(a, c):
            total[a, b] += x.T @ (x * curvature[:, a, b, None])
    return total


def symmetric(blocks: torch.Tensor) -> torch.Tensor:
    """The whole matrix `(P, P)` of what `add_fisher` gave."""
    c, d = blocks.shape[0], blocks.shape[2]
    upper = torch.ones(c, c, device=blocks.device).triu(1)[:, :, None, None] * blocks
    return (blocks + upper.transpose(0, 1)).transpose(1, 2).reshape(c * d, c * d)


def principal_directions(parts: Iterable[torch.Tensor], k: int) -> torch.Tensor:
    """The k directions `(d, k)` in which inputs are largest: they keep most of their squares."""
    moment: torch.Tensor | None = None
    for part in parts:
        x = part.double()
        moment = x.T @ x if moment is None else moment + x.T @ x
    assert moment is not None
    return torch.linalg.eigh(moment).eigenvectors[:, -k:]


class Design:
    """Greedy choice by the trace of M⁻¹ F.

    Each candidate keeps Q = Vᵀ M⁻¹ V and R = Vᵀ M⁻¹ F M⁻¹ V. Adding it to M takes
    tr((I + Q)⁻¹ R) from the trace, removing it adds tr((I - Q)⁻¹ R) (Woodbury). When M changes by a
    few columns, so do Q and R, at c² d operations a candidate instead of c² d².

    Args:
        known: M `(P, P)`, positive definite.
        fisher: F `(P, P)`.
        candidates: which may be taken.
    """

    def __init__(self, known: torch.Tensor, fisher: torch.Tensor, candidates: Roots) -> None:
        self._fisher = fisher
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(known))
        self._between = self._inverse @ fisher @ self._inverse
        self._candidates = candidates
        self._q = _within(candidates, self._inverse)
        self._r = _within(candidates, self._between)
        self._free = torch.ones(len(candidates), dtype=torch.bool, device=known.device)

    @property
    def trace(self) -> float:
        """tr(M⁻¹ F), which is to be small."""
        return float((self._inverse * self._fisher).sum())

    def take(self) -> int:
        """The candidate that lowers the trace most, added to M; of equal ones the first."""
        gains = _change(self._q, self._r, 1).masked_fill(~self._free, -torch.inf)
        best = int(gains.argmax())
        self._free[best] = False
        self._update(best, 1)
        return best

    def drop(self, taken: list[int]) -> int:
        """The one of `taken` that the trace misses least, removed from M; of equals the last."""
        at = torch.tensor(taken[::-1], device=self._q.device)
        least = int(at[_change(self._q[at], self._r[at], -1).argmin()])
        self._update(least, -1)
        return least

    def _update(self, at: int, sign: int) -> None:
        columns = self._candidates.columns(at)
        values, vectors = torch.linalg.eigh(_inner(self._q[at], sign))
        # Removing nearly all that M has in a direction leaves rounding errors below 0.
        turn = vectors / values.clamp(min=1e-12).sqrt()
        w = self._inverse @ columns @ turn
        z = self._between @ columns @ turn
        k = w.T @ self._fisher @ w
        self._inverse = self._inverse - sign * (w @ w.T)
        self._between = self._between - sign * (w @ z.T + z @ w.T) + w @ k @ w.T
        roots, inputs = self._candidates.roots, self._candidates.inputs
        c, r = roots.shape[1:]
        both = torch.cat([w, z], 1).reshape(c, -1, 2 * r).transpose(0, 1).flatten(1)
        for part in self._candidates.parts():
            seen = (inputs[part] @ both).reshape(-1, c, 2 * r)
            g, h = (roots[part].mT @ seen).chunk(2, dim=2)
            cross = g @ h.mT
            self._q[part] -= sign * (g @ g.mT)
            self._r[part] += g @ k @ g.mT - sign * (cross + cross.mT)


def _within(candidates: Roots, matrix: torch.Tensor) -> torch.Tensor:
    """Vᵀ A V of each candidate `(n, r, r)`, for a symmetric A `(P, P)`."""
    c, d = candidates.roots.shape[1], candidates.inputs.shape[1]
    blocks = matrix.reshape(c, d, c, d)
    found = []
    for part in candidates.parts():
        x, roots = candidates.inputs[part], candidates.roots[part]
        middle = x.new_empty(len(x), c, c)
        for a in range(c):
            for b in range(a, c):
                middle[:, a, b] = ((x @ blocks[a, :, b]) * x).sum(1)
                middle[:, b, a] = middle[:, a, b]
        found.append(roots.mT @ middle @ roots)
    return torch.cat(found)


def _inner(q: torch.Tensor, sign: int) -> torch.Tensor:
    return torch.eye(q.shape[-1], dtype=q.dtype, device=q.device) + sign * q


def _change(q: torch.Tensor, r: torch.Tensor, sign: int) -> torch.Tensor:
    """tr((I ± Q)⁻¹ R) of each candidate `(n,)`."""
    if q.shape[-1] == 1:
        return (r / (1 + sign * q).clamp(min=1e-12))[:, 0, 0]
    inner = _inner(q, sign)
    if sign < 0:
        inner.diagonal(dim1=1, dim2=2).add_(1e-12)
    return torch.linalg.solve(inner, r).diagonal(dim1=1, dim2=2).sum(1)
