"""The life of a child process that carries out steps for flows."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from querist.errors import QueristError
from querist.progress import watched_by
from querist.runs.host import Step, can_be_awaited, in_words
from querist.runs.open import open_run
from querist.runs.reference import RunReference

PR_SET_PDEATHSIG = 1
BEAT_SECONDS = 1.0
_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__)
_log = logging.getLogger(__name__)


def serve_forked(connection: Connection, parents_end: Connection, parent: int) -> None:
    """The life of a fork: as `serve`, with only its own end of the line."""
    parents_end.close()
    gc.freeze()
    gc.enable()
    serve(connection, parent)


def serve(connection: Connection, parent: int) -> None:
    """The child's life: take a step, carry it out, answer; end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with(parent)
    sending = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with sending:
            connection.send((kind, content))

    _forward_logs(send)
    at_work = threading.Event()
    threading.Thread(target=_beat, args=(send, at_work), name="heart", daemon=True).start()
    with watched_by(lambda progress: send("progress", progress)):
        while True:
            try:
                run, step, args = connection.recv()
            except EOFError:
                return
            at_work.set()
            kind, content = answer_of(run, step, args)
            at_work.clear()
            try:
                send(kind, content)
            except Exception as error:  # what a step gave cannot travel
                send("error", _portable(error))


def _beat(send: Callable[[str, Any], None], at_work: threading.Event) -> None:
    """Say again and again that the process is there, while a step is carried out."""
    while at_work.wait():
        with suppress(OSError):  # the parent is gone, and this process will be
            send("alive", None)
        time.sleep(BEAT_SECONDS)


def answer_of(run: RunReference | None, step: Step, args: tuple[Any, ...]) -> tuple[str, Any]:
    """Carry out a step: `result` with what it gave, or `error` with what it raised."""
    try:
        return "result", step(*args) if run is None else step(open_run(run), *args)
    except BaseException as error:
        if not isinstance(error, QueristError):
            _log.exception("the step %s failed", getattr(step, "__name__", step))
        return "error", _portable(error)


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _Forward(logging.Handler):
    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send("log", portable_record(record))
        except Exception:
            self.handleError(record)


def portable_record(record: logging.LogRecord) -> logging.LogRecord:
    """A log record that can travel between processes."""
    sent = logging.makeLogRecord(
        {k: v for k, v in record.__dict__.items() if k in _OF_EVERY_RECORD}
    )
    sent.msg, sent.args = record.getMessage(), None
    if record.exc_info:
        # A traceback does not travel, its words do.
        sent.exc_text = logging.Formatter().formatException(record.exc_info)
        sent.exc_info = None
    return sent


def _forward_logs(send: Callable[[str, Any], None]) -> None:
    """What Querist logs in the child is logged in the parent too, where Prefect picks it up."""
    logger = logging.getLogger("querist")
    logger.addHandler(_Forward(send))
    logger.propagate = False


def _portable(error: BaseException) -> BaseException:
    """The error itself if it can travel between processes, else its words."""
    if not can_be_awaited(error):
        return in_words(error)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return in_words(error)
    return error
