"""The ranks of one machine, started by torchrun in a process of its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from querist.commands.environment import NOT_FOR_STEPS, THREADS
from querist.commands.process import Ended, run_process
from querist.config.training import TrainingConfig
from querist.training.distributed.job_folder import JobFolder

NAME = "training processes"
_AGENT = "querist.training.distributed.agent"
_RANK = "querist.training.distributed.rank"


def start_ranks(
    folder: JobFolder,
    settings: TrainingConfig,
    *,
    threads: int,
    lock: Path | None = None,
    first_node: bool = True,
    address: str | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Ended:
    """Run this machine's ranks of a job to their end; nothing of them outlives this process.

    Args:
        folder: the job.
        settings: how many there are, and how they find each other.
        threads: CPU threads of each.
        lock: a file that is locked while they run; None = one of their own.
        first_node: whether the others meet here.
        address: where the ranks of other machines reach those of this one; None = by its name.
        meanwhile: called several times a second; what it raises ends them.
    """
    who = f"{socket.gethostname()}-{os.getpid()}"
    logs = folder.logs / who
    failures = folder.path / f"failures-{who}.json"
    return run_process(
        [
            sys.executable, "-m", _AGENT, str(failures),
            *_rendezvous(folder.name, settings, first_node, address),
            f"--nnodes={settings.distributed.nodes}",
            f"--nproc-per-node={settings.processes}",
            f"--max-restarts={settings.distributed.max_restarts}",
            f"--log-dir={logs}", "--redirects=3", "-m", _RANK, str(folder.path),
        ],
        name=NAME,
        folder=Path.cwd(),
        lock=lock or folder.path / f"lock-{who}",
        environment=_environment(threads),
        meanwhile=meanwhile,
    )  # fmt: skip


def _rendezvous(
    name: str, settings: TrainingConfig, first_node: bool, address: str | None
) -> list[str]:
    """How agents of several machines find each other; one alone uses a free port of its own."""
    distributed = settings.distributed
    if distributed.rendezvous is None:
        there = ["--rdzv-endpoint=localhost:0", "--local-addr=localhost"]
    else:
        wait = int(distributed.timeout_seconds)
        there = [
            f"--rdzv-endpoint={distributed.rendezvous}",
            f"--rdzv-conf=is_host={int(first_node)},join_timeout={wait},read_timeout={wait}",
        ]
        if first_node and address is None:
            address = distributed.rendezvous.rpartition(":")[0].strip("[]")
        if address is not None:
            there.append(f"--local-addr={address}")
    return ["--rdzv-backend=c10d", f"--rdzv-id={name}", *there]


def _environment(threads: int) -> dict[str, str]:
    """Ours without the credentials of servers; ranks find what we find, in the same order."""
    path = [entry or os.getcwd() for entry in sys.path]
    found = dict.fromkeys(entry for entry in path if os.path.isdir(entry))
    return {
        **{k: v for k, v in os.environ.items() if k not in NOT_FOR_STEPS},
        **dict.fromkeys(THREADS, str(threads)),
        "PYTHONPATH": os.pathsep.join(found),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        # A store of torchrun's would still hold the addresses of the ranks of the try before, and
        # those that are started again would wait for the dead (torch 2.13).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
