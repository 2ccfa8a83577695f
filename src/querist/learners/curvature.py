"""The curvature of a last layer's loss, and the Gaussian of its weights that follows from it.

The generalized Gauss-Newton matrix H of the summed loss is kept as its eigenvalues and vectors, so
that any prior precision can be added: the posterior of the weights has the precision H + prior · I.

Martens and Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature, 2015,
arXiv:1503.05671; Ritter, Botev and Barber, A Scalable Laplace Approximation for Neural Networks,
2018 (ICLR).

Shapes: c outputs, d inputs of the layer (the bias among them), P = c · d weights, n rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

FULL_UP_TO = 1024
"""A layer of so many weights has its whole matrix (8 MB); a larger one is Kronecker-factored."""

_ROWS_TIMES_WEIGHTS = 10**7


@dataclass(frozen=True)
class Full:
    """The whole matrix.

    Attributes:
        values: `(P,)`.
        vectors: `(c, d, P)`, a column for each value.
    """

    values: torch.Tensor
    vectors: torch.Tensor

    def eigenvalues(self) -> torch.Tensor:
        """All of them `(P,)`."""
        return self.values

    def variances(self, prior: float) -> FullVariances:
        """The variances of outputs under the posterior."""
        scaled = self.vectors / (self.values + prior).sqrt()
        return FullVariances(torch.einsum("adp,aep->ade", scaled, scaled))

    def draws(self, noise: torch.Tensor, prior: float) -> torch.Tensor:
        """Draws of the posterior about its mean `(t, c, d)` out of standard normal ones."""
        flat = noise.reshape(len(noise), -1) / (self.values + prior).sqrt()
        return torch.einsum("adp,tp->tad", self.vectors, flat)

    def scaled(self, factor: float) -> Full:
        """The curvature of a loss that is `factor` times as large."""
        return Full(self.values * factor, self.vectors)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `curvature_from` makes it of."""
        return {"values": self.values, "vectors": self.vectors}


@dataclass(frozen=True)
class FullVariances:
    """Covariances of each output's own weights `(c, d, d)`."""

    blocks: torch.Tensor

    def of(self, inputs: torch.Tensor) -> torch.Tensor:
        """Variances of the outputs `(n, c)` for inputs of the layer `(n, d)`."""
        return torch.stack([((inputs @ block) * inputs).sum(1) for block in self.blocks], dim=1)


@dataclass(frozen=True)
class Kronecker:
    """The matrix as the product of one of the outputs and one of the inputs.

    Attributes:
        out_values, out_vectors: `(c,)`, `(c, c)`.
        in_values, in_vectors: `(d,)`, `(d, d)`.
    """

    out_values: torch.Tensor
    out_vectors: torch.Tensor
    in_values: torch.Tensor
    in_vectors: torch.Tensor

    def _grid(self) -> torch.Tensor:
        return self.out_values[:, None] * self.in_values

    def eigenvalues(self) -> torch.Tensor:
        """All of them `(P,)`."""
        return self._grid().reshape(-1)

    def variances(self, prior: float) -> KroneckerVariances:
        """The variances of outputs under the posterior."""
        return KroneckerVariances(
            self.in_vectors, (1 / (self._grid() + prior)).T @ self.out_vectors.square().T
        )

    def draws(self, noise: torch.Tensor, prior: float) -> torch.Tensor:
        """Draws of the posterior about its mean `(t, c, d)` out of standard normal ones."""
        scaled = noise / (self._grid() + prior).sqrt()
        return self.out_vectors @ scaled @ self.in_vectors.T

    def scaled(self, factor: float) -> Kronecker:
        """The curvature of a loss that is `factor` times as large."""
        return Kronecker(
            self.out_values * factor, self.out_vectors, self.in_values, self.in_vectors
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `curvature_from` makes it of."""
        return {
            "out_values": self.out_values,
            "out_vectors": self.out_vectors,
            "in_values": self.in_values,
            "in_vectors": self.in_vectors,
        }


@dataclass(frozen=True)
class KroneckerVariances:
    """Variances of the outputs along each direction of the inputs: `(d, d)`, `(d, c)`."""

    directions: torch.Tensor
    weights: torch.Tensor

    def of(self, inputs: torch.Tensor) -> torch.Tensor:
        """Variances of the outputs `(n, c)` for inputs of the layer `(n, d)`."""
        return (inputs @ self.directions).square() @ self.weights


Curvature = Full | Kronecker


def curvature_from(tensors: Mapping[str, torch.Tensor]) -> Curvature:
    """The inverse of `tensors`."""
    if "values" in tensors:
        return Full(tensors["values"], tensors["vectors"])
    names = ("out_values", "out_vectors", "in_values", "in_vectors")
    return Kronecker(*(tensors[name] for name in names))


def no_curvature(outputs: int, inputs: int) -> Kronecker:
    """That of no labels at all: 0 everywhere."""
    return Kronecker(
        torch.zeros(outputs, dtype=torch.float64), torch.eye(outputs, dtype=torch.float64),
        torch.zeros(inputs, dtype=torch.float64), torch.eye(inputs, dtype=torch.float64),
    )  # fmt: skip


def curvature_of_classes(
    parts: Iterable[tuple[torch.Tensor, torch.Tensor]], *, full_up_to: int = FULL_UP_TO
) -> Curvature:
    """The curvature of the summed cross-entropy.

    Args:
        parts: inputs of the layer `(n, d)` and roots S `(n, c, m)` of the curvature in the outputs
            (`root_of_softmax`, `root_of_sigmoid`), of all labeled samples, piece by piece.
        full_up_to: so many weights have the whole matrix.
    """
    whole = outer = inner = None
    rows = 0
    for inputs, roots in parts:
        n, c, m = roots.shape
        rows += n
        if c * inputs.shape[1] <= full_up_to:
            size = max(1, _ROWS_TIMES_WEIGHTS // (m * c * inputs.shape[1]))
            for x, s in zip(inputs.split(size), roots.split(size), strict=True):
                jacobian = torch.einsum("ncm,nd->nmcd", s, x).reshape(len(x) * m, -1)
                product = jacobian.T @ jacobian
                whole = product if whole is None else whole + product
            shape = (c, inputs.shape[1])
        else:
            own = torch.einsum("nam,nbm->ab", roots, roots)
            outer = own if outer is None else outer + own
            product = inputs.T @ inputs
            inner = product if inner is None else inner + product
    if whole is not None:
        values, vectors = torch.linalg.eigh(whole)
        return Full(values.clamp(min=0), vectors.reshape(*shape, -1))
    assert outer is not None
    assert inner is not None
    return _kronecker(outer / rows, inner)


def curvature_of_numbers(parts: Iterable[torch.Tensor], outputs: int) -> Kronecker:
    """The curvature of half the summed squared error, which is a Kronecker product exactly.

    Args:
        parts: inputs of the layer `(n, d)`, piece by piece.
        outputs: numbers per sample.
    """
    inner = torch.stack([inputs.T @ inputs for inputs in parts]).sum(0)
    return _kronecker(torch.eye(outputs, dtype=inner.dtype, device=inner.device), inner)


def _kronecker(outer: torch.Tensor, inner: torch.Tensor) -> Kronecker:
    out_values, out_vectors = torch.linalg.eigh(outer)
    in_values, in_vectors = torch.linalg.eigh(inner)
    return Kronecker(out_values.clamp(min=0), out_vectors, in_values.clamp(min=0), in_vectors)


def root_of_softmax(proba: torch.Tensor) -> torch.Tensor:
    """S `(n, c, c)` with S Sᵀ = diag(p) - p pᵀ, the curvature of cross-entropy in the logits."""
    root = proba.sqrt()
    return torch.diag_embed(root) - proba[:, :, None] * root[:, None, :]


def root_of_sigmoid(positive: torch.Tensor) -> torch.Tensor:
    """S `(n, 1, 1)` with S² = p (1 - p), the curvature of binary cross-entropy in the logit."""
    return (positive * (1 - positive)).sqrt()[:, None, None]
