from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from querist.learners.masks import Masks, dropout_layers

ONES = torch.ones(50, 400)


def passed(module: nn.Module, x: torch.Tensor, seed: int = 1, masks: Masks | None = None) -> Any:
    module.eval()
    with (masks or Masks(module)).held(seed):
        return module(x)


def test_rows_share_a_mask_and_it_comes_again() -> None:
    module = nn.Sequential(nn.Dropout(0.25))
    masks = Masks(module)
    first = passed(module, ONES, masks=masks)
    assert bool((first == first[0]).all())
    assert first.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert abs(float((first[0] == 0).double().mean()) - 0.25) < 0.07
    assert torch.equal(passed(module, ONES[:7], masks=masks), first[:7])
    assert torch.equal(passed(module, ONES), first), "fresh masks of the same seed are others"
    assert not torch.equal(passed(module, ONES, seed=2), first)


def test_outside_nothing_is_dropped() -> None:
    module = nn.Dropout(0.5)
    passed(module, ONES)
    assert torch.equal(module(ONES), ONES)
    with pytest.raises(RuntimeError), Masks(module).held(1):
        raise RuntimeError
    assert torch.equal(module(ONES), ONES)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Dropout1d(0.5), (6, 64, 5)), (nn.Dropout2d(0.5), (6, 64, 3, 3)),
     (nn.Dropout3d(0.5), (6, 64, 2, 2, 2))],
)  # fmt: skip
def test_whole_channels_are_dropped(layer: nn.Module, shape: tuple[int, ...]) -> None:
    found = passed(layer, torch.ones(shape)).reshape(6, 64, -1)
    assert bool((found == found[:1, :, :1]).all())
    assert set(found.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("layer", [nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)])
def test_alpha_dropout_takes_torchs_values(layer: nn.Module) -> None:
    ones = torch.ones(4, 2000)
    ours = passed(layer, ones).unique()
    layer.train()
    torch.manual_seed(0)
    torch.testing.assert_close(ours, layer(ones).unique())


@pytest.mark.parametrize("layer", [nn.Dropout(1.0), nn.AlphaDropout(1.0)])
def test_all_is_dropped(layer: nn.Module) -> None:
    assert torch.equal(passed(layer, ONES), torch.zeros(50, 400))


def test_layers_and_times_have_masks_of_their_own() -> None:
    class Twice(nn.Module):
        """Passes one layer twice, and another one."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.other = nn.Dropout(0.5), nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.first(x), self.first(x), self.other(x)])

    one, two, three = passed(Twice(), ONES)
    assert not torch.equal(one, two)
    assert not torch.equal(two, three)
    assert not torch.equal(one, three)


def test_types_stay() -> None:
    assert passed(nn.Dropout(0.5), ONES.to(torch.bfloat16)).dtype == torch.bfloat16


def test_global_randomness_stays() -> None:
    before = torch.random.get_rng_state()
    passed(nn.Dropout(0.5), ONES)
    assert torch.equal(before, torch.random.get_rng_state())


def test_layers_that_drop_nothing_do_not_count() -> None:
    module = nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2), nn.Sequential(nn.Dropout2d(0.1)))
    assert list(dropout_layers(module)) == ["2.0"]


class Padded(nn.Module):
    """A transformer over sequences that end in padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = torch.arange(x.shape[1]) >= torch.arange(1, len(x) + 1)[:, None]
        found: torch.Tensor = self.encoder(x, src_key_padding_mask=padding)
        return found.masked_fill(padding[:, :, None], 0.0).sum(1)


def test_a_transformer_with_padding() -> None:
    module, x = Padded().eval(), torch.randn(6, 6, 8)
    with torch.no_grad():
        plain, masks = module(x), Masks(module)
        first = passed(module, x, masks=masks)
        assert torch.equal(passed(module, x, masks=masks), first)
        assert not torch.allclose(first, plain)
        assert not torch.allclose(passed(module, x, seed=2), first)
        assert torch.equal(module(x), plain)
    assert module.encoder.use_nested_tensor
