"""Carries the events of one spool to MLflow, in order, and notes how far it got."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from querist.tracking.address import check_address, is_server
from querist.tracking.asking import Asking
from querist.tracking.progress import MAX_PROBLEMS, read_progress, write_progress
from querist.tracking.reach import greet
from querist.tracking.registered import point_alias_to
from querist.tracking.registry_events import deliver_version, state_of, text_in
from querist.tracking.registry_state import put_state
from querist.tracking.spool import Event, SpoolReader, UndeliverableError, spool_id

if TYPE_CHECKING:
    from querist.tracking.mlflow_store import MlflowStore

MAX_METRICS = 1000
NUMBERS = ("metrics", "curve")
"""Events that are only numbers: those that follow each other are delivered together."""
BY_LABELS = "_by_labels"
BEHIND_THE_END = frozenset({"alias", "version", "registry"})
"""Words about a run's model, which may come behind the run's end and do not begin it anew."""

STATUSES = ("FINISHED", "FAILED", "KILLED", "SCHEDULED")

Point = tuple[str, float, int, float]
"""Name, value, step, time."""


class Courier:
    """One run's events on their way. Only for the holder of the run's delivery lock.

    Attributes:
        progress: what is noted on disk.
        delivered: how many events this courier has delivered.
        error: why the last attempt failed; None after one that succeeded.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress = read_progress(folder)
        self.delivered = 0
        self.error = self.progress.error
        self._reader = SpoolReader(folder)
        self._waiting: deque[Event] = deque()
        self._known: set[tuple[str, int, str]] = set()
        self._points_of_step: dict[int, dict[str, Point]] = {}
        self._store: MlflowStore | None = None
        self._asking = Asking(folder)
        self._damaged = 0
        self._ended = False
        self._deliverers: dict[str, Callable[[Event], list[str]]] = {
            "start": self._start,
            "artifact": self._artifact,
            "model": self._model,
            "alias": self._alias,
            "version": self._version,
            "registry": self._registry,
            "tags": self._tags,
            "end": self._end,
        }

    @property
    def finished(self) -> bool:
        """Whether the run's end was delivered, and nothing came behind it.

        An end that was delivered before this courier began counts only if the run had finished:
        one that failed goes on, and says so when it comes to it.
        """
        return self._ended and not self._waiting

    @property
    def pending(self) -> int:
        """Events that were read and are not delivered."""
        return len(self._waiting)

    def read(self) -> None:
        """Take in what the run has written since."""
        for event in self._reader.read():
            if event.seq > self.progress.seq:
                self._waiting.append(event)
                continue
            finished = event.kind == "end" and event.payload.get("status") == "FINISHED"
            self._ended = finished or (self._ended and event.kind in BEHIND_THE_END)
            if event.kind == "metrics":
                with contextlib.suppress(UndeliverableError):
                    self._new_points(event)

    def drain(self, *, linger: float = 0.0) -> None:
        """Deliver what is there; metrics younger than `linger` seconds may wait for company.

        Raises:
            Exception: whatever MLflow raised; call again later, nothing is lost.
        """
        self.read()
        while self._waiting:
            batch = self._next_batch()
            is_alone = len(batch) == len(self._waiting) and batch[0].kind in NUMBERS
            if is_alone and 0 <= time.time() - batch[0].time < linger:
                return
            self._reader.sync()
            problems = self._deliver(batch)
            kind = batch[-1].kind
            self._ended = kind == "end" or (self._ended and kind in BEHIND_THE_END)
            self._note(seq=batch[-1].seq, error=None, problems=problems)
            self.delivered += len(batch)
            self.error = None
            for _ in batch:
                self._waiting.popleft()
            self.read()

    def note_error(self, error: Exception) -> None:
        """Have the file say why delivery does not go on."""
        text = " ".join(str(error).split())[:500]
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
        self.error = message
        if message != self.progress.error:
            with contextlib.suppress(OSError):  # the disk may be what is wrong
                self._note(error=message)

    def _note(self, *, problems: list[str] | None = None, **changes: Any) -> None:
        new = [*(problems or ()), *self._damage()]
        kept = tuple(dict.fromkeys([*self.progress.problems, *new]))[-MAX_PROBLEMS:]
        self.progress = replace(self.progress, problems=kept, **changes)
        write_progress(self.folder, self.progress)

    def _damage(self) -> list[str]:
        more, self._damaged = self._reader.damaged - self._damaged, self._reader.damaged
        return [f"{more} damaged line(s) in the spool were passed over"] if more else []

    def _next_batch(self) -> list[Event]:
        """The next event; if it is numbers, with those that follow it directly."""
        batch: list[Event] = []
        for event in self._waiting:
            if batch and (event.kind not in NUMBERS or len(batch) >= MAX_METRICS):
                break
            batch.append(event)
            if event.kind not in NUMBERS:
                break
        return batch

    def _deliver(self, batch: list[Event]) -> list[str]:
        """Deliver a batch; what cannot be delivered at all comes back in words."""
        if batch[0].kind in NUMBERS:
            return self._numbers(batch)
        event = batch[0]
        deliverer = self._deliverers.get(event.kind)
        try:
            if deliverer is None:
                raise UndeliverableError("nobody knows this kind of event")
            return [f"event {event.seq}: {problem}" for problem in deliverer(event)]
        except UndeliverableError as error:
            return [f"event {event.seq} ({event.kind}): {error}"]

    def _start(self, event: Event) -> list[str]:
        payload = event.payload
        for key in ("experiment", "run_name"):
            text_in(event, key)
        began_at = self.progress.uri
        uri, identity = began_at or self._wanted_uri(event), spool_id(self.folder)
        assert identity is not None, "the start event was read from the spool"
        if self._store is None or self._store.uri != uri:
            self._store = self._connect(uri, identity)
        nested = {**payload, "tags": {**(payload.get("tags") or {}), **self._parent(event, uri)}}
        run = self._store.open_run(nested, time=event.time, run_id=self.progress.mlflow_run_id)
        self._note(
            uri=uri, mlflow_run_id=run.info.run_id, experiment_id=str(run.info.experiment_id)
        )
        wanted = payload.get("uri")
        if began_at and wanted and _absolute(wanted) != began_at:
            return [f"the run stays where it began, at {began_at}, though {wanted} was asked for"]
        return []

    def _parent(self, start: Event, uri: str) -> dict[str, str]:
        """The tag that nests a learner's run in that of its parallel run.

        Raises:
            RuntimeError: the parallel run is not in the tracker yet.
        """
        parent = start.payload.get("parent")
        if not isinstance(parent, str) or Path(parent).name != parent:
            return {}
        folder = self.folder.parent / parent
        if spool_id(folder) is None:  # the parallel run is not tracked
            return {}
        progress = read_progress(folder)
        if progress.mlflow_run_id is None:
            raise RuntimeError(f"the parallel run {parent} is not in the tracker yet")
        return {"parent": progress.mlflow_run_id} if progress.uri == uri else {}

    def _wanted_uri(self, start: Event) -> str:
        """Where the run shall be; of several starts before there is a run, the last one counts."""
        starts = [start, *(event for event in self._waiting if event.kind == "start")]
        given = starts[-1].payload.get("uri") or os.environ.get("MLFLOW_TRACKING_URI")
        return _absolute(given or f"sqlite:///{self.folder.parent / 'mlflow.db'}")

    def _run(self) -> tuple[MlflowStore, str]:
        """The store and the run's id in it."""
        run_id, uri, identity = (
            self.progress.mlflow_run_id, self.progress.uri, spool_id(self.folder),
        )  # fmt: skip
        if run_id is None or uri is None or identity is None:
            raise UndeliverableError("it comes before the run's start")
        if self._store is None:
            self._store = self._connect(uri, identity)
        return self._store, run_id

    def _connect(self, uri: str, identity: str) -> MlflowStore:
        check_address(uri)
        if is_server(uri):
            self._asking.ask()
            if greet(uri):
                self._asking.answered()  # what comes next is importing mlflow, no tracker's fault
        gc.disable()  # importing mlflow makes objects that stay: no need to look among them
        try:
            from querist.tracking.mlflow_store import MlflowStore

            return MlflowStore(uri, identity, self._asking)
        finally:
            gc.freeze()
            gc.enable()

    def _numbers(self, batch: list[Event]) -> list[str]:
        points: list[Point] = []
        problems = []
        for event in batch:
            try:
                points += _curve_points(event) if event.kind == "curve" else self._new_points(event)
            except UndeliverableError as error:
                problems.append(f"event {event.seq} ({event.kind}): {error}")
        if points:
            try:
                store, run_id = self._run()
            except UndeliverableError as error:
                return [*problems, f"event {batch[0].seq} ({batch[0].kind}): {error}"]
            try:
                store.log_metrics(run_id, points)
            except Exception:
                self._known -= {_identity(point) for point in points}
                raise
        return problems

    def _new_points(self, event: Event) -> list[Point]:
        """What a metrics event says that no event before it said.

        A run that was killed between its metrics and its commit says them again when it resumes.
        """
        try:
            step = int(event.payload["step"])
            values = {str(k): float(v) for k, v in event.payload["values"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UndeliverableError(f"its step or values are no numbers ({error!r})") from error
        points = [(name, value, step, event.time) for name, value in values.items()]
        new = [point for point in points if _identity(point) not in self._known]
        self._known |= {_identity(point) for point in new}
        of_step = self._points_of_step.setdefault(step, {})
        of_step |= {point[0]: point for point in new if not point[0].endswith(BY_LABELS)}
        return new

    def _artifact(self, event: Event) -> list[str]:
        store, run_id = self._run()
        path = self._inside(event, "path")
        if not path.exists():
            raise UndeliverableError(f"there is no file {event.payload['path']!r} in the run")
        below = event.payload.get("artifact_path")
        if below is not None and (not isinstance(below, str) or ".." in Path(below).parts):
            raise UndeliverableError(f"an artifact path is a folder name, not {below!r}")
        store.log_artifact(run_id, path, below)
        return []

    def _model(self, event: Event) -> list[str]:
        store, run_id = self._run()
        keys = ("checkpoint", "experiment_file", "input_example", "output_example")
        paths = {key: self._inside(event, key) for key in keys}
        for key, path in paths.items():
            if not path.exists():
                raise UndeliverableError(f"its {key} {event.payload[key]!r} is not there")
        step = event.payload.get("step")
        if not isinstance(step, int):
            raise UndeliverableError(f"a model's step is an integer, not {step!r}")
        metrics = list(self._points_of_step.get(step, {}).values())
        return store.log_model(
            run_id, seq=event.seq, name=text_in(event, "name"), step=step, metrics=metrics, **paths
        )

    def _alias(self, event: Event) -> list[str]:
        store, run_id = self._run()
        model = store.logged_model(run_id, text_in(event, "model"))
        name, alias = text_in(event, "name"), text_in(event, "alias")
        point_alias_to(store.client, model, name=name, alias=alias, run_id=run_id)
        return []

    def _version(self, event: Event) -> list[str]:
        store, run_id = self._run()
        deliver_version(store, run_id, event, str(spool_id(self.folder)))
        return []

    def _registry(self, event: Event) -> list[str]:
        name, state = text_in(event, "name"), state_of(event)
        store, _ = self._run()
        return put_state(store.client, name, state)

    def _tags(self, event: Event) -> list[str]:
        values = event.payload.get("values")
        if not isinstance(values, dict):
            raise UndeliverableError(f"tags are a mapping, not {values!r:.80}")
        store, run_id = self._run()
        store.set_tags(run_id, values)
        return []

    def _end(self, event: Event) -> list[str]:
        status = event.payload.get("status")
        if status not in STATUSES:
            raise UndeliverableError(f"a run ends {', '.join(STATUSES)}, not {status!r:.80}")
        store, run_id = self._run()
        store.end(run_id, status=status, time=event.time)
        return []

    def _inside(self, event: Event, key: str) -> Path:
        """A path below the run's folder; others are refused, the tracker may be public."""
        home = self.folder.resolve()
        path = (home / text_in(event, key)).resolve()
        if not path.is_relative_to(home) or path == home:
            raise UndeliverableError(
                f"its {key} {event.payload[key]!r} is outside the run's folder"
            )
        return path


def _curve_points(event: Event) -> list[Point]:
    """The points of a curve: a row is a step, and a value or none for each of the columns."""
    try:
        columns = [str(name) for name in event.payload["columns"]]
        rows = [(int(step), values) for step, *values in event.payload["rows"]]
        return [
            (name, float(value), step, event.time)
            for step, values in rows
            for name, value in zip(columns, values, strict=True)
            if value is not None
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UndeliverableError(f"its rows are no steps and numbers ({error!r})") from error


def _absolute(uri: str) -> str:
    """The same place whatever the working folder is, when `querist sync` comes back to it."""
    prefix = "sqlite:///"
    return (
        prefix + str(Path(uri.removeprefix(prefix)).absolute()) if uri.startswith(prefix) else uri
    )


def _identity(point: Point) -> tuple[str, int, str]:
    return point[0], point[2], repr(point[1])
