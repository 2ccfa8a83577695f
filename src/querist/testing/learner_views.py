"""The part of a learner's contract that is about its views: what strategies ask it by name."""

from __future__ import annotations

import torch

from querist.errors import StrategyError
from querist.protocols import Learner
from querist.testing.small_training import FEATURES, SIZE
from querist.testing.suite import global_randomness_untouched
from querist.views import View, look, views_of


class LearnerViews:
    """Tests of what a learner says by `look`, and of what follows from its predictions."""

    def _fitted(self) -> Learner:
        raise NotImplementedError

    def test_views_have_their_shapes(self) -> None:
        """Each has a row for each sample, numbers that are finite, and floats."""
        learner = self._fitted()
        for view in sorted(views_of(learner)):
            try:
                found = _asked(learner, view, FEATURES)
            except StrategyError as error:
                raise AssertionError(f"{view} is no answer: {error}") from error
            assert found.is_floating_point(), f"{view} are floats, not {found.dtype}"
            assert not found.requires_grad, f"{view} keep a graph of gradients"

    def test_views_are_the_same_when_asked_together(self) -> None:
        """One pass for all of them gives what a pass for each gives, up to rounding."""
        learner = self._fitted()
        views = sorted(views_of(learner))
        together = look(learner, views, FEATURES, torch.arange(SIZE))
        for view, found in zip(views, together, strict=True):
            alone = _asked(learner, view, FEATURES)
            assert torch.allclose(found.cpu(), alone, rtol=1e-4, atol=1e-5), (
                f"{view} are others when asked alone"
            )

    def test_views_change_nothing(self) -> None:
        """Asked again it says the same, and its state, the features and all that is global stay."""
        learner = self._fitted()
        before, features = dict(learner.state_files()), FEATURES.clone()
        threads = torch.get_num_threads()
        views = sorted(views_of(learner))
        with global_randomness_untouched():
            first = [_asked(learner, view, features) for view in views]
        assert torch.equal(features, FEATURES), "being looked into changed the features"
        assert dict(learner.state_files()) == before, "being looked into changed the state"
        torch.rand(3)
        for view, found in zip(views, first, strict=True):
            again = _asked(learner, view, features)
            assert torch.equal(found, again), f"asked again, {view} are others"
        assert torch.get_num_threads() == threads, "being looked into changed the threads"

    def test_views_do_not_depend_on_chunks(self) -> None:
        """Rows are answered alone as they are among others, up to rounding; no rows get none."""
        learner = self._fitted()
        for view in sorted(views_of(learner)):
            whole = _asked(learner, view, FEATURES)
            for size in (1, 7):
                parts = [_asked(learner, view, part) for part in FEATURES.split(size)]
                joined = torch.cat(parts, dim=view.rows)
                assert torch.allclose(joined, whole, rtol=1e-4, atol=1e-5), (
                    f"{view} depend on how features are split, by {size}"
                )
            none = _asked(learner, view, FEATURES[:0])
            expected = list(whole.shape)
            expected[view.rows] = 0
            assert list(none.shape) == expected, f"{view} of no rows have shape {none.shape}"

    def test_embeddings_are_what_the_last_layer_is_given(self) -> None:
        """Where a learner gives logits and embeddings, the ones are linear in the others."""
        learner = self._fitted()
        if not {View.LOGITS, View.EMBEDDINGS} <= getattr(learner, "views", frozenset()):
            return
        logits = _asked(learner, View.LOGITS, FEATURES).double()
        given = _asked(learner, View.EMBEDDINGS, FEATURES).double()
        given = torch.cat([given, torch.ones(SIZE, 1, dtype=torch.float64)], dim=1)
        fitted = given @ torch.linalg.lstsq(given, logits, driver="gelsd").solution
        off = float((fitted - logits).abs().max())
        assert off < 1e-3 * (1 + float(logits.abs().max())), (
            f"logits are no linear function of the embeddings, by {off}"
        )


def _asked(learner: Learner, view: View, features: torch.Tensor) -> torch.Tensor:
    return look(learner, [view], features, torch.arange(len(features)))[0].cpu()
