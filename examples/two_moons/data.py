"""Two interleaving half circles, the inner one the rarer class."""

import torch

from querist.pools import TensorPool


def sample_moons(n: int, rare_share: float, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points `(n, 2)` and classes `(n,)`: 0 for the outer moon, 1 for the rarer inner one."""
    rare = round(n * rare_share)
    outer_angle = torch.linspace(0, torch.pi, n - rare)
    inner_angle = torch.linspace(0, torch.pi, rare)
    outer = torch.stack([outer_angle.cos(), outer_angle.sin()], dim=1)
    inner = torch.stack([1 - inner_angle.cos(), 0.5 - inner_angle.sin()], dim=1)
    points = torch.cat([outer, inner])
    points += torch.randn(points.shape) * noise
    classes = torch.cat([torch.zeros(n - rare), torch.ones(rare)]).long()
    return points, classes


def moons_pool(n: int = 1000, rare_share: float = 0.3, noise: float = 0.25) -> TensorPool:
    """A pool of `n` points, and another draw of `n` points from the same moons to test on.

    Querist seeds torch with the experiment's seed while it makes the pool.
    """
    points, classes = sample_moons(n, rare_share, noise)
    test = TensorPool(*sample_moons(n, rare_share, noise), classes=2)
    return TensorPool(points, classes, classes=2, held_out={"test": test})
