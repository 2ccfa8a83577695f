"""Torch's launcher: `python -m querist.training.distributed.agent FAILURES ARGUMENTS_OF_TORCHRUN`.

It is called as `torch.distributed.run` calls it, and leaves in a file how ranks failed, which
torch says in prose only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from querist.training.distributed.failures import Failure, message_of, write_failures


def main(arguments: Sequence[str]) -> int:
    """Run torch's launcher; returns the exit code."""
    failures, *rest = arguments
    parsed = parse_args(rest)
    try:
        run(parsed)
    except ChildFailedError as error:
        found = [
            Failure(
                rank,
                failed.exitcode,
                message_of(failed.error_file_data),
                _logs_of(Path(parsed.log_dir), failed.local_rank),
            )
            for rank, failed in error.failures.items()
        ]
        write_failures(Path(failures), found)
        return 1
    return 0


def _logs_of(logs: Path, local_rank: int) -> str | None:
    """The folder of a rank's logs in the last try."""
    tries = {
        int(p.parent.name.rpartition("_")[2]): p for p in logs.glob(f"*/attempt_*/{local_rank}")
    }
    return str(tries[max(tries)]) if tries else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
