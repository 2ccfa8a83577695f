from __future__ import annotations

import torch

from querist.pools import LabeledSet, TensorPool


def test_a_labeled_set_is_a_data_set_in_its_own_order() -> None:
    pool = TensorPool(torch.arange(5.0)[:, None])
    labeled = LabeledSet(pool, torch.tensor([4, 1]), torch.tensor([1, 0]))
    assert len(labeled) == 2
    features, target = labeled[0]
    assert (features.tolist(), int(target)) == ([4.0], 1)
    assert labeled.features().tolist() == [[4.0], [1.0]]
    joined = labeled.joined(LabeledSet(pool, torch.tensor([0]), torch.tensor([1])))
    assert joined.indices.tolist() == [4, 1, 0]
    assert joined.targets.tolist() == [1, 0, 1]
