"""Samples that no pool holds: they are made where an acquisition function is highest.

A batch is spread by penalties about the points that are chosen, after González, Dai, Hennig and
Lawrence, Batch Bayesian Optimization via Local Penalization, 2016, arXiv:1505.08052; here the
radius is given, not estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from querist.about import About
from querist.context import QueryContext
from querist.errors import ConfigurationError, StrategyError
from querist.registry import register
from querist.strategies.options import finite_number, one_of, whole_number
from querist.strategies.query.bald import bald_scores
from querist.strategies.query.box_search import climb, spread_points
from querist.strategies.query.entropy import entropy_scores
from querist.strategies.query.least_confidence import least_confidence_scores
from querist.strategies.query.margin import margin_scores
from querist.strategies.query.predictive_variance import predictive_variance_scores
from querist.strategies.query.scoring import check_count, check_scores
from querist.values import Selection
from querist.views import View, flattened, look, require_views

ACQUISITIONS: dict[str, tuple[View, Callable[[torch.Tensor], torch.Tensor]]] = {
    "margin": (View.PROBABILITIES, margin_scores),
    "entropy": (View.PROBABILITIES, entropy_scores),
    "least_confidence": (View.PROBABILITIES, least_confidence_scores),
    "bald": (View.PROBABILITY_SAMPLES, bald_scores),
    "predictive_variance": (View.VARIANCES, predictive_variance_scores),
}

MOST_FEATURES = 21_201
"""Of a sample: Sobol sequences are known up to here."""

_CLIMBERS = 16
_AT_ONCE = 1024
"""Points whose distances to all known ones are held."""

_KNOWN_RADIUS = 0.01
"""About samples that are labeled or asked for; nobody wants the label of the same sample twice."""

_FLOOR = 1e-6
"""Added to heights of 0 and more, so that away from what is chosen is always higher than on it."""


@register("query", "generated")
class Generated:
    """New samples from anywhere inside a box of features, where an acquisition function is highest.

    The labels must come from a source that can label what no pool holds: a `callable` or a
    `command`. Each sample of a batch is searched for by itself, away from those before it.

    Args:
        acquisition: `margin`, `entropy`, `least_confidence`, `bald` or `predictive_variance`.
        low: the least value of each feature, a number for all or a list; None = the least among the
            labeled samples.
        high: the highest, in the same way; given together with low.
        starts: points of the box that are looked at first; the best 16 are climbed from.
        steps: of each climb.
        diversity: how far from a chosen sample others are pushed away, as a share of the box's
            sides (root mean square over the features); above 0.
    """

    about = About(
        paper="González, Dai, Hennig and Lawrence, Batch Bayesian Optimization via Local "
        "Penalization, 2016, arXiv:1505.08052",
        needs=(View.PROBABILITIES,),
        cost="k predictions of 256 s samples, s steps",
    )
    makes_samples = True

    def __init__(
        self,
        acquisition: str = "margin",
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        starts: int = 256,
        steps: int = 30,
        diversity: float = 0.1,
    ) -> None:
        view, self._score = ACQUISITIONS[one_of("acquisition", acquisition, ACQUISITIONS)]
        self.needs = (view,)
        if (low is None) != (high is None):
            raise ConfigurationError(
                "low and high are given together, and one of them is missing: set both, or none "
                "for the range of the labeled samples"
            )
        self._bounds = None
        if low is not None:
            self._bounds = (_numbers("low", low), _numbers("high", high))
            _check_sides(*self._bounds)
        self.starts = whole_number("starts", starts, least=1)
        self.steps = whole_number("steps", steps, least=0)
        self.diversity = finite_number("diversity", diversity, least=1e-4)

    def sample(self, context: QueryContext, n: int) -> Selection:
        """n new samples, the highest acquisition first; the scores are its values.

        Raises:
            StrategyError: features are no floats, or the box does not fit them or has no room.
        """
        check_count(n)
        require_views(context.learner, self.needs, "generated")
        if n == 0:
            return Selection((), ())
        template = _template(context)
        low, high = self._box(context, template)

        def samples_at(points: torch.Tensor) -> torch.Tensor:
            inside = torch.lerp(low, high, points).clamp(low, high).to(template.dtype)
            return inside.reshape(-1, *template.shape)

        def acquisition(points: torch.Tensor) -> torch.Tensor:
            rows = samples_at(points).split(context.chunk_size)
            return torch.cat([self._values(context, part) for part in rows])

        spread = spread_points(len(low), self.starts, context.generator)
        search = _Search(
            acquisition, spread, self.diversity, self.steps, context.generator, high > low
        )
        search.avoid(_unit(_known(context), low, high))
        points = torch.stack([search.next() for _ in range(n)])
        scores = acquisition(points)
        order = scores.argsort(descending=True, stable=True)
        return Selection((), tuple(scores[order].tolist()), samples_at(points[order]))

    def _values(self, context: QueryContext, rows: torch.Tensor) -> torch.Tensor:
        indices = torch.arange(len(rows))
        (said,) = look(context.learner, self.needs, rows, indices)
        scores = self._score(said).cpu()
        check_scores(scores, indices)
        return scores.double()

    def _box(
        self, context: QueryContext, template: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both ends of each feature `(d,)`, the lower ones first."""
        d = template.numel()
        if self._bounds is not None:
            for name, values in zip(("low", "high"), self._bounds, strict=True):
                if len(values) not in (1, d):
                    raise StrategyError(
                        f"{name} has one number for all features or one for each, and "
                        f"{len(values)} are not {d}: write {d} of them"
                    )
            low, high = (torch.tensor(v, dtype=torch.float64).expand(d) for v in self._bounds)
        elif len(context.labeled):
            rows = flattened(context.labeled.features()).double()
            low, high = rows.amin(0), rows.amax(0)
        else:
            raise StrategyError(
                "generated takes its box from the labeled samples, and there are none: set low and "
                "high"
            )
        if d > MOST_FEATURES or not bool((high > low).any()):
            raise StrategyError(
                f"generated searches a box of 1 to {MOST_FEATURES:,} features of which one varies, "
                f"not of {d:,} of which {int((high > low).sum()):,} vary: set low and high, or use "
                "a pool"
            )
        return low, high


def _numbers(option: str, value: Any) -> tuple[float, ...]:
    """A number, or a list of them."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not values:
        raise ConfigurationError(f"{option} has a number for each feature, not none: write them")
    return tuple(finite_number(option, each) for each in values)


def _check_sides(low: tuple[float, ...], high: tuple[float, ...]) -> None:
    if len(low) != len(high) and 1 not in (len(low), len(high)):
        raise ConfigurationError(
            f"low and high have one number for all features or one for each, not {len(low)} and "
            f"{len(high)}: write as many of both"
        )
    size = max(len(low), len(high))
    sides = zip(low * (size // len(low)), high * (size // len(high)), strict=True)
    for feature, (begin, end) in enumerate(sides):
        if begin > end:
            raise ConfigurationError(
                f"low is at most high, and {begin:g} of feature {feature} is above {end:g}: swap "
                "them"
            )


def _template(context: QueryContext) -> torch.Tensor:
    """A sample of the kind that is to be made."""
    indices = torch.cat([context.labeled.indices[:1], context.unlabeled[:1]])[:1]
    if not len(indices):
        raise StrategyError(
            "generated makes samples like those that are there, and there are none: label some "
            "first"
        )
    features: Any = context.pool.features(indices)
    if not isinstance(features, torch.Tensor) or not features.is_floating_point():
        kind = features.dtype if isinstance(features, torch.Tensor) else type(features).__name__
        raise StrategyError(
            f"generated makes features that are floats, and this pool's are {kind}: use a query "
            "strategy that chooses from the pool"
        )
    return features[0]


def _known(context: QueryContext) -> torch.Tensor:
    """Samples that are labeled, and those that were made before and may be waiting for a label."""
    size = len(context.pool)
    made = torch.arange(getattr(context.pool, "made_from", size), size)
    indices = torch.cat([context.labeled.indices, made]).unique()
    if not len(indices):
        return torch.empty(0, 1)
    return torch.cat(
        [flattened(context.pool.features(part)) for part in indices.split(context.chunk_size)]
    )


def _unit(rows: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Samples `(m, d)` in coordinates of the box."""
    return (rows.double() - low) / torch.where(high > low, high - low, torch.inf)


class _Search:
    """One point after the other, each where the acquisition is high and no other is near.

    Args:
        acquisition: points `(m, d)` -> values `(m,)`.
        spread: where to look first `(s, d)`.
        radius: about each point that is found.
        steps: of each climb.
        generator: draws directions.
        sides: which numbers have any length in the box `(d,)`; others say nothing of distance.
    """

    def __init__(
        self,
        acquisition: Callable[[torch.Tensor], torch.Tensor],
        spread: torch.Tensor,
        radius: float,
        steps: int,
        generator: torch.Generator,
        sides: torch.Tensor,
    ) -> None:
        self._acquisition, self._spread = acquisition, spread
        self._radius, self._steps, self._generator = radius, steps, generator
        self._values = acquisition(spread)
        self._low = float(self._values.min())
        self._range = float(self._values.max()) - self._low
        self._found: list[torch.Tensor] = []
        self._sides = sides.to(spread)
        self._known = spread[:0]

    def avoid(self, points: torch.Tensor) -> None:
        """Points `(m, d)` that nothing is to be equal to."""
        self._known = points * self._sides

    def next(self) -> torch.Tensor:
        """The next point `(d,)`."""
        heights = self._penalized(self._spread, self._values)
        order = heights.argsort(descending=True, stable=True)
        best = self._spread[order[:_CLIMBERS]]
        points, reached = climb(best, self._height, self._steps, self._generator)
        self._found.append(points[int(reached.argmax())])
        return self._found[-1]

    def _height(self, points: torch.Tensor) -> torch.Tensor:
        return self._penalized(points, self._acquisition(points))

    def _penalized(self, points: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Values from 0 on, lowered towards 0 about what was found."""
        heights = (values - self._low).clamp_min(0) / (self._range or 1.0) + _FLOOR
        for found in self._found:
            heights = heights * self._away(points, found[None], self._radius)
        return heights * self._away(points, self._known, _KNOWN_RADIUS)

    def _away(self, points: torch.Tensor, others: torch.Tensor, radius: float) -> torch.Tensor:
        """From 0 on the nearest of other points to 1 far from all, `(m,)`."""
        if not len(others):
            return points.new_ones(len(points))
        exact = "donot_use_mm_for_euclid_dist"
        nearest = torch.cat(
            [
                torch.cdist(part * self._sides, others * self._sides, compute_mode=exact).amin(1)
                for part in points.split(_AT_ONCE)
            ]
        )
        return -torch.expm1(-nearest.square() / (2 * radius**2 * self._sides.sum()))
