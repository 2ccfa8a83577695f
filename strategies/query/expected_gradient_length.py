"""Expected gradient length: how far a label, whichever it is, would move the last layer.

Multiple-Instance Active Learning, Settles, Craven and Ray, 2007, Advances in Neural Information
Processing Systems 20.
"""

from __future__ import annotations

import torch

BIAS = 1.0
"""What a last layer's bias is multiplied by, beside what goes into it."""


def expected_gradient_lengths(probabilities: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Mean length of the gradient of the last layer over its label: `(m, c)`, `(m, d)` -> `(m,)`.

    For the label y the gradient of a softmax layer's cross-entropy is the outer product of p less
    the one-hot of y with the layer's input h and a 1 for its bias. Its length is the product of
    the two lengths, so that no gradient is built. Labels are as likely as they are predicted.
    """
    p = probabilities.double()
    # |p - y|^2 = (1 - p_y)^2 + the other classes' p^2, without subtracting what nearly is the same.
    others = torch.stack(
        [torch.cat([p[:, :y], p[:, y + 1 :]], dim=1).square().sum(1) for y in range(p.shape[1])],
        dim=1,
    )
    errors = ((1 - p).square() + others).sqrt()
    return (p * errors).sum(1) * (inputs.double().square().sum(1) + BIAS).sqrt()
