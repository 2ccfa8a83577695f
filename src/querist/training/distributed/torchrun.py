"""Ranks started by torchrun: `python -m querist.training.distributed.torchrun FAILURES ...`.

The program is torch's own launcher, called as `torch.distributed.run` calls it. It says in a file
how ranks failed, which torch's says in prose only.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from querist.commands.environment import NOT_FOR_STEPS, THREADS
from querist.commands.process import Ended, run_process
from querist.config.training import TrainingConfig
from querist.training.distributed.failures import Failure, message_of, write_failures
from querist.training.distributed.job_folder import JobFolder

NAME = "training processes"
_RANK = "querist.training.distributed.rank"


def start_ranks(
    folder: JobFolder,
    settings: TrainingConfig,
    *,
    threads: int,
    lock: Path,
    first_node: bool = True,
    meanwhile: Callable[[], None] | None = None,
) -> Ended:
    """Run this machine's ranks of a job to their end; nothing of them outlives this process.

    Args:
        folder: the job.
        settings: how many there are, and how they find each other.
        threads: CPU threads of each.
        lock: a file that is locked while they run.
        first_node: whether the others meet here.
        meanwhile: called several times a second; what it raises ends them.
    """
    who = f"{socket.gethostname()}-{os.getpid()}"
    logs = folder.logs / who
    failures = folder.path / f"failures-{who}.json"
    return run_process(
        [
            sys.executable, "-m", "querist.training.distributed.torchrun", str(failures),
            *_rendezvous(folder.name, settings, first_node),
            f"--nnodes={settings.distributed.nodes}",
            f"--nproc-per-node={settings.processes}",
            f"--max-restarts={settings.distributed.max_restarts}",
            f"--log-dir={logs}", "--redirects=3", "-m", _RANK, str(folder.path),
        ],
        name=NAME,
        folder=Path.cwd(),
        lock=lock,
        environment=_environment(threads),
        meanwhile=meanwhile,
    )  # fmt: skip


def _rendezvous(name: str, settings: TrainingConfig, first_node: bool) -> list[str]:
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
    }


def main(arguments: Sequence[str]) -> int:
    """Run torch's launcher; returns the exit code."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    failures, *rest = arguments
    parsed = parse_args(rest)
    try:
        run(parsed)
    except ChildFailedError as error:
        logs = Path(parsed.log_dir)
        write_failures(
            Path(failures),
            [
                Failure(
                    rank,
                    failed.exitcode,
                    message_of(failed.error_file_data),
                    _logs_of(logs, failed.local_rank),
                )
                for rank, failed in error.failures.items()
            ],
        )
        return 1
    return 0


def _logs_of(logs: Path, local_rank: int) -> str | None:
    """The folder of a rank's logs in the last try."""
    tries = [p for p in logs.glob(f"*/attempt_*/{local_rank}") if p.is_dir()]
    with suppress(ValueError):
        return str(max(tries, key=lambda path: int(path.parent.name.rpartition("_")[2])))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
