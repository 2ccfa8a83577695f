"""What a command costs, with all the processes that it starts: wall time, CPU time, memory. Linux.

CPU time is the kernel's own account. Whatever outlives the command is handed to this process (a
"subreaper"), waited for, and counted, so that nothing hides in a background process. Memory is
sampled.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.1
PSS_EVERY = 5
"""Samples between two looks at what processes share."""
LINGER_SECONDS = 60.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Attributes:
        started, ended: Unix time of the command's start and of its end.
        wall: seconds between them.
        cpu: seconds of CPU time, of the command and of everything that it started.
        lingered: seconds that something went on after the command's end.
        peak_mb: most memory that the command's own process held.
        tree_peak_mb: most memory that all of its processes held at one time; pages that several
            share are counted for each.
        tree_pss_mb: the same with each page counted once; 0 where it was not asked for.
        others_cpu: seconds of CPU time that the rest of the machine took meanwhile: the noise.
        output: what it printed.
    """

    started: float
    ended: float
    wall: float
    cpu: float
    lingered: float
    peak_mb: float
    tree_peak_mb: float
    others_cpu: float
    output: str
    tree_pss_mb: float = 0.0


class CommandFailedError(RuntimeError):
    """A measured command ended with another exit code than 0."""


def measure(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, pss: bool = False
) -> Cost:
    """Run a command and wait for it and for everything that it leaves behind.

    Reaps every child of this process: nothing else may run below it meanwhile.

    Args:
        command: program and arguments.
        env: its environment.
        cwd: its working directory.
        pss: whether to find out what processes share, which takes milliseconds a process.

    Raises:
        CommandFailedError: its exit code is not 0.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    busy = _machine_cpu()
    with tempfile.TemporaryFile() as output:
        started = time.time()
        clock = time.monotonic()
        process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        with _Sampler(process.pid, pss=pss) as sampler:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - clock
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu = usage.ru_utime + usage.ru_stime + sum(_reap_orphans())
        lingered = time.monotonic() - clock - wall
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode != 0:
        raise CommandFailedError(
            f"{' '.join(command)} ended with exit code {process.returncode}:\n{text[-4000:]}"
        )
    return Cost(
        started=started,
        ended=started + wall,
        wall=wall,
        cpu=cpu,
        lingered=lingered,
        peak_mb=sampler.peak / 1e6,
        tree_peak_mb=sampler.tree_peak / 1e6,
        others_cpu=max(0.0, _machine_cpu() - busy - cpu),
        output=text,
        tree_pss_mb=sampler.tree_pss / 1e6,
    )


def _reap_orphans() -> Iterator[float]:
    """The CPU seconds of each process that was left behind, as it ends."""
    until = time.monotonic() + LINGER_SECONDS
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            yield usage.ru_utime + usage.ru_stime
        elif time.monotonic() > until:
            raise CommandFailedError(f"something still runs {LINGER_SECONDS:.0f} s after its end")
        else:
            time.sleep(0.01)


def _machine_cpu() -> float:
    """Seconds of CPU time that the whole machine has spent working."""
    user, nice, system, _, _, irq, soft_irq = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + soft_irq) / _TICKS


class _Sampler(threading.Thread):
    """Watches the memory of a process and its descendants while the `with` block lasts."""

    def __init__(self, root: int, *, pss: bool) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.tree_peak = 0
        self.tree_pss = 0
        self._pss = pss
        self._root = root
        self._done = threading.Event()

    def __enter__(self) -> _Sampler:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        samples = 0
        while not self._done.wait(SAMPLE_SECONDS):
            resident = _resident(self._root)
            self.tree_peak = max(self.tree_peak, sum(resident.values()))
            self.peak = max(self.peak, _high_water(self._root))
            if self._pss and samples % PSS_EVERY == 0:
                self.tree_pss = max(self.tree_pss, sum(map(_proportional, resident)))
            samples += 1


def _resident(root: int) -> dict[int, int]:
    """Resident bytes of `root` and of each of its descendants."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            # The name, in brackets, may hold anything: fields are counted from behind it.
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
        resident[int(entry)] = int(fields[21]) * _PAGE
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        found[pid] = resident.get(pid, 0)
        waiting += children.get(pid, [])
    return found


def _proportional(pid: int) -> int:
    """Bytes of a process, its share of the pages that it shares; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _high_water(pid: int) -> int:
    """The most bytes that a process ever held; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
