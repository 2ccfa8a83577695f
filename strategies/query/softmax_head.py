"""A small softmax model, and what it would be with one more label, for all labels of many samples.

Fitting it anew for each of them is what makes expected error reduction slow. Here the loss of the
samples it was fitted to is first taken for quadratic around the fit, and the loss of the new sample
for what it is: the new weights then differ from the old ones by c unknown numbers, which c
equations determine, whatever the number of weights. Newton steps with the curvature of the old fit
and of the new sample then correct for what is not quadratic.
"""

from __future__ import annotations

import torch

STEPS = 100
"""Newton steps of a fit at most; a handful is usual."""
STEPS_OF_ONE = 12
"""Newton steps for one more sample."""
CORRECTIONS = 3
"""Newton steps for all samples after that. On digits with 100 labels, the order of 24 candidates
correlated with that of 240 fits by 0.81 with none, 0.996 with one and 0.999 with two."""
HALVINGS = 2.0 ** -torch.arange(8, dtype=torch.float64)
CONVERGED = 1e-10


class SoftmaxHead:
    """Softmax regression with a penalty on its weights, in float64.

    It minimizes the sum of cross-entropies plus penalty / 2 times the sum of squared weights.

    Args:
        inputs: `(l, d)`, in float64; a 1 for a bias is the caller's to add.
        labels: classes of them `(l,)`.
        classes: how many there are.
        penalty: above 0.

    Attributes:
        weights: `(d, c)`.
    """

    def __init__(
        self, inputs: torch.Tensor, labels: torch.Tensor, classes: int, penalty: float
    ) -> None:
        self._penalty = penalty
        self._inputs = inputs
        width = inputs.shape[1]
        self.weights = inputs.new_zeros(width, classes)
        self._inverse = torch.eye(width * classes, dtype=inputs.dtype) / penalty
        truth = torch.nn.functional.one_hot(labels.long(), classes).to(inputs)
        self._truth = truth
        for _ in range(STEPS if len(inputs) else 0):
            p = (inputs @ self.weights).softmax(1)
            gradient = inputs.T @ (p - truth) + penalty * self.weights
            # One sample's is x x^T (kron) (diag p - p p^T).
            curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
            hessian = torch.einsum("li,lab,lj->iajb", inputs, curvature, inputs)
            hessian = hessian.reshape(width * classes, width * classes)
            hessian.diagonal().add_(penalty)
            self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
            if float(gradient.abs().max()) < CONVERGED:
                break
            step = (self._inverse @ gradient.flatten()).reshape(width, classes)
            trials = self.weights - HALVINGS[:, None, None] * step
            lost = self._losses(trials, inputs, truth)
            self.weights = trials[int(lost.argmin())]

    def _losses(
        self, weights: torch.Tensor, inputs: torch.Tensor, truth: torch.Tensor
    ) -> torch.Tensor:
        """What is minimized, of several weights `(h, d, c)`: `(h,)`."""
        fits = -((inputs @ weights).log_softmax(2) * truth).sum((1, 2))
        return fits + self._penalty / 2 * weights.square().sum((1, 2))

    def with_one_more(self, inputs: torch.Tensor) -> torch.Tensor:
        """The weights, when each of m samples has got each of the labels.

        Args:
            inputs: of the samples `(m, d)`.

        Returns:
            `(m, c, d, c)`: by sample and its label, weights.
        """
        width, classes = self.weights.shape
        inverse = self._inverse.reshape(width, classes, width, classes)
        # By how much weights, and logits of the sample, change with one of the c unknowns.
        moved = torch.einsum("iajb,mj->miab", inverse, inputs)
        own = torch.einsum("mi,miab->mab", inputs, moved)
        unknowns = _solved(inputs @ self.weights, own)
        weights = self.weights - torch.einsum("miab,myb->myia", moved, unknowns)
        for _ in range(CORRECTIONS):
            step = self._newton_step(weights, inputs, moved, own)
            weights = weights - self._best_sizes(weights, step, inputs) * step
        return weights

    def _best_sizes(
        self, weights: torch.Tensor, step: torch.Tensor, inputs: torch.Tensor
    ) -> torch.Tensor:
        """How much of each step lowers what is minimized most, `(m, y, 1, 1)`; 0 where none does.

        The old curvature is too low where a surprising label makes the old samples uncertain, and
        whole steps would then go further and further.
        """
        here, there = self._inputs @ weights, self._inputs @ step
        own_here = torch.einsum("mi,myia->mya", inputs, weights)
        own_there = torch.einsum("mi,myia->mya", inputs, step)
        sizes = torch.cat([HALVINGS[:5], HALVINGS.new_zeros(1)])
        lost = []
        for size in sizes.tolist():
            logits, own = here - size * there, own_here - size * own_there
            fits = logits.logsumexp(3).sum(2) - (logits * self._truth).sum((2, 3))
            fits += own.logsumexp(2) - own.diagonal(dim1=1, dim2=2)
            lost.append(fits + self._penalty / 2 * (weights - size * step).square().sum((2, 3)))
        return sizes[torch.stack(lost).argmin(0)][..., None, None]

    def _newton_step(
        self, weights: torch.Tensor, inputs: torch.Tensor, moved: torch.Tensor, own: torch.Tensor
    ) -> torch.Tensor:
        """From weights `(m, y, d, c)`, by the old curvature and the new sample's."""
        shape, classes = weights.shape, weights.shape[3]
        p = torch.einsum("mi,myia->mya", inputs, weights).softmax(2)
        off = p - torch.eye(classes, dtype=p.dtype)
        missed = (self._inputs @ weights).softmax(3) - self._truth
        gradient = self._inputs.T @ missed + self._penalty * weights
        gradient += inputs[:, None, :, None] * off[:, :, None]
        step = (gradient.reshape(*shape[:2], -1) @ self._inverse).reshape(shape)
        curvature = torch.diag_embed(p) - p[..., :, None] * p[..., None, :]
        system = torch.eye(classes, dtype=p.dtype) + curvature @ own[:, None]
        of_step = torch.einsum("mi,myia->mya", inputs, step)
        back = torch.linalg.solve(system, curvature @ of_step[..., None])[..., 0]
        return step - torch.einsum("miab,myb->myia", moved, back)


def _solved(logits: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """The a that solve a = softmax(logits - own a) - one-hot of y, for each label y.

    Args:
        logits: of m samples before `(m, c)`.
        own: how their logits move with a `(m, c, c)`, symmetric, positive.

    Returns:
        `(m, y, c)`.
    """
    classes = logits.shape[1]
    truth = torch.eye(classes, dtype=logits.dtype)
    unknowns = logits.new_zeros(len(logits), classes, classes)

    def at(unknowns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, and a function that falls to its minimum where the equations hold."""
        pulled = unknowns @ own
        after = logits[:, None] - pulled
        loss = after.logsumexp(2) - after.diagonal(dim1=1, dim2=2)
        return after, (pulled * unknowns).sum(2) / 2 + loss

    for _ in range(STEPS_OF_ONE):
        p = at(unknowns)[0].softmax(2)
        off = unknowns - p + truth
        curvature = torch.diag_embed(p) - p[..., :, None] * p[..., None, :]
        system = truth + curvature @ own[:, None]
        step = torch.linalg.solve(system, off[..., None])[..., 0]
        # A whole step goes too far where the label is a surprise.
        trials = [unknowns - size * step for size in HALVINGS.tolist()]
        best = torch.stack([at(trial)[1] for trial in trials]).argmin(0)
        unknowns = torch.stack(trials).gather(0, best[None, ..., None].expand_as(off[None]))[0]
    return unknowns
