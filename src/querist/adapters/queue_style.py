"""Strategies in the older queue style, run unchanged.

    query.sample(query_queue)                       puts what it wants labeled
    label.label(queue_to_label, serialize_queue)    gets that, puts what goes into the data set
    metrology.compute(); metrology.serialize_records()

They are recognised by their methods' parameters: a native `sample` takes (context, n), a native
`label` takes (request), a native `compute` takes (context). Where they have `attach`, they are
attached to a view of the run that has the driver's attributes.
"""

from __future__ import annotations

import inspect
import logging
import numbers
import queue
from collections.abc import Callable, Iterator
from typing import Any, cast

from querist.adapters.driver_view import DriverView, UnlabeledView
from querist.context import MetrologyContext, QueryContext
from querist.errors import StrategyError
from querist.protocols import LabelStrategy, MetrologyStrategy, QueryStrategy
from querist.requests import LabelRequest
from querist.storage.plain import to_plain
from querist.values import Label, MetrologyRecord, Selection

_log = logging.getLogger(__name__)


def _required(method: Callable[..., Any]) -> int:
    """How many positional arguments a method must be given."""
    return sum(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in inspect.signature(method).parameters.values()
    )


def _check(what: str, strategy: Any, method: str) -> None:
    if not callable(getattr(strategy, method, None)):
        raise StrategyError(
            f"a {what} strategy has a method `{method}`, {type(strategy).__name__} has none"
        )


def as_query(strategy: Any) -> QueryStrategy:
    """A query strategy of either style as a native one."""
    _check("query", strategy, "sample")
    return QueueQuery(strategy) if _required(strategy.sample) < 2 else strategy


def as_label(strategy: Any) -> LabelStrategy:
    """A label strategy of either style as a native one."""
    _check("label", strategy, "label")
    return QueueLabel(strategy) if _required(strategy.label) == 2 else strategy


def as_metrology(strategy: Any) -> MetrologyStrategy:
    """A metrology strategy of either style as a native one."""
    _check("metrology", strategy, "compute")
    return QueueMetrology(strategy) if _required(strategy.compute) == 0 else strategy


class _Attached:
    """A queue-style strategy and the driver view it is attached to."""

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self._view: DriverView | None = None

    @property
    def name(self) -> str:
        return type(self.strategy).__name__

    def bind(self, view: DriverView) -> None:
        """Attach the strategy to an open run."""
        self._view = view
        if callable(getattr(self.strategy, "attach", None)):
            self.strategy.attach(view)

    def at(self, iteration: int) -> DriverView:
        """The view, set to an iteration."""
        assert self._view is not None, "the run binds its strategies when it is opened"
        self._view.active_learning_step_idx = iteration
        return self._view


class QueueQuery(_Attached):
    """A queue-style query strategy.

    With a data set that appends, whatever it puts is an item of its own. With a native pool it
    puts positions in `driver.unlabeled_datapool`.
    """

    def sample(self, context: QueryContext, n: int) -> Selection:
        """What the strategy put into its queue, at most `n` items, repeats dropped."""
        view = self.at(context.iteration)
        appends = getattr(context.pool, "holds_items", False)
        if not appends:
            view.unlabeled_datapool = UnlabeledView(context.pool, context.unlabeled)
        wanted: queue.Queue[Any] = queue.Queue()
        self.strategy.sample(wanted)
        items = [wanted.get() for _ in range(wanted.qsize())]
        fresh = context.pool.fresh(items) if appends else list(dict.fromkeys(map(int, items)))  # type: ignore[attr-defined]
        if len(fresh) < len(items):
            _log.info("query %s chose %d items twice", self.name, len(items) - len(fresh))
        if len(fresh) > n:
            _log.info("query %s chose %d items, the budget leaves %d", self.name, len(fresh), n)
            fresh = fresh[:n]
        if appends:
            return Selection((), (0.0,) * len(fresh), fresh)
        if not all(0 <= position < len(context.unlabeled) for position in fresh):
            raise StrategyError(
                f"query {self.name!r} put {fresh}: with this pool it puts positions 0 to "
                f"{len(context.unlabeled) - 1} of driver.unlabeled_datapool"
            )
        return Selection(tuple(context.unlabeled[fresh].tolist()), (0.0,) * len(fresh))


class _NeverWaits(queue.Queue[Any]):
    """A queue whose `get` raises `queue.Empty` instead of waiting for ever."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return super().get(block=False)


class QueueLabel(_Attached):
    """A queue-style label strategy, called once per item, so that every label is durable at once.

    A strategy that finds several items in its queue at a time would lose all of them when it is
    killed; one at a time loses at most one.
    """

    at_once = 1

    def label(self, request: LabelRequest) -> Iterator[Label]:
        """One label per item that the strategy put into its second queue."""
        self.at(request.iteration)
        pool = cast(Any, request.pool)
        if not getattr(pool, "holds_items", False):
            raise StrategyError(
                f"label {self.name!r} works with a data set that has `append`: make data.pool such "
                "a data set, or use a label strategy with label(request)"
            )
        for index in request.indices.tolist():
            waiting, done = _NeverWaits(), queue.Queue[Any]()
            waiting.put(pool.item(index))
            self.strategy.label(waiting, done)
            if done.qsize() > 1:
                raise StrategyError(f"label {self.name!r} put {done.qsize()} labels for one item")
            if not done.empty():
                yield Label(index, to_plain(done.get()))


class QueueMetrology(_Attached):
    """A queue-style metrology strategy; the numbers in its newest record are the metrics."""

    def bind(self, view: DriverView) -> None:
        """Attach the strategy, and let it load the records of a resumed run."""
        super().bind(view)
        load = getattr(self.strategy, "load_records", None)
        if callable(load) and _required(load) == 0:
            try:
                load()
            except FileNotFoundError:
                _log.debug("%s has no records yet", self.name)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """Let the strategy measure and serialize, and read its newest record."""
        self.at(context.iteration)
        self.strategy.compute()
        serialize = getattr(self.strategy, "serialize_records", None)
        if callable(serialize):
            serialize()
        records = list(getattr(self.strategy, "records", []))
        newest = records[-1] if records else {}
        content = newest if isinstance(newest, dict) else getattr(newest, "__dict__", {})
        return MetrologyRecord(
            {
                key: float(value)
                for key, value in content.items()
                if isinstance(value, numbers.Real)
                and not isinstance(value, bool)
                and key not in ("step", "num_train_samples")
            }
        )
