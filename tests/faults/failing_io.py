"""Runs in forks of this process, in which system calls fail at random. Started by `fiu-run -x`.

Reads a line of JSON per run, and answers with one: `{"code": 0}`, or what ended the run.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from tests.shared.driven import Place

READING = ("posix/io/rw/read", "posix/io/rw/pread")
WRITING = (
    "posix/io/rw/write",
    "posix/io/rw/write/reduce",
    "posix/io/rw/pwrite",
    "posix/io/rw/pwrite/reduce",
    "posix/io/rw/ftruncate",
    "posix/io/dir/rename",
)
OTHERS = ("posix/io/sync/*", "posix/io/dir/unlink", "posix/io/oc/open")


class Faults:
    """The failure points of libfiu, which has replaced the C library's functions."""

    def __init__(self) -> None:
        self._fiu = ctypes.CDLL("libfiu.so.0")
        self._fiu.fiu_enable_random.argtypes = (
            ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_float,
        )  # fmt: skip

    def seed(self, seed: int) -> None:
        self._fiu.fiu_set_prng_seed(ctypes.c_uint(seed))

    def begin(self, probability: float, *, full: bool) -> None:
        """From here on calls fail: for want of space, where they write and the disk is full."""
        for name in (*READING, *WRITING, *OTHERS):
            reason = errno.ENOSPC if full and name in WRITING else errno.EIO
            self._fiu.fiu_enable_random(name.encode(), 1, reason, 0, probability)

    def end(self) -> None:
        for name in (*READING, *WRITING, *OTHERS):
            self._fiu.fiu_disable(name.encode())


def attempt(place: Place, seed: int, probability: float) -> dict[str, Any]:
    """Do what is left of the run; calls fail from a moment on that the seed chooses."""
    faults, chance = Faults(), random.Random(seed)
    moments = [("create", -1), ("conclude", 3)]
    for step in ("train", "metrology", "query", "label", "commit"):
        moments += [(step, iteration) for iteration in range(3)]
    moment = chance.choice(moments)
    full = chance.random() < 0.5
    faults.seed(seed)

    def begin_at(step: str, iteration: int) -> None:
        if probability and (step, iteration) == moment:
            faults.begin(probability, full=full)

    try:
        place.drive(begin_at)
    except BaseException as error:
        faults.end()
        return {
            "code": 1,
            "kinds": [kind.__name__ for kind in type(error).__mro__],
            "words": str(error),
            "at": f"{moment}",
            "trace": traceback.format_exc(),
        }
    faults.end()
    return {"code": 0, "at": f"{moment}"}


def forked(place: Place, seed: int, probability: float) -> dict[str, Any]:
    """An attempt in a process of its own."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        os.environ["ASKED"] = str(place.books)
        answer = json.dumps(attempt(place, seed, probability)).encode()
        while answer:
            answer = answer[os.write(theirs, answer) :]
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(content) if content else {"code": -status, "kinds": [], "words": "it died"}


def main() -> None:
    torch.set_num_threads(1)  # threads do not survive a fork
    for line in sys.stdin:
        asked = json.loads(line)
        place = Place(Path(asked["folder"]), Path(asked["books"]))
        if asked["here"]:  # everything is imported by this: no import is to fail later
            os.environ["ASKED"] = asked["books"]
            answer = attempt(place, 0, 0.0)
        else:
            answer = forked(place, asked["seed"], asked["probability"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
