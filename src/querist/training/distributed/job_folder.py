"""A training job as files: what ranks need to know, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from querist.config.learner import LearnerSettings
from querist.config.training import TrainingConfig
from querist.errors import LearnerError
from querist.learners.build import DescribesLearner, build_learner
from querist.pools.labeled import LabeledSet
from querist.protocols import Learner
from querist.runs.checkpoints import PartialCheckpoint
from querist.storage.atomic import write_file, write_folder
from querist.training.distributed.arrays import read_labeled, write_labeled
from querist.training.job import TrainingJob, TrainingReport

JOB = "job.json"
LEARNER = "learner.yaml"
_REPORT = "report.json"


@dataclass(frozen=True)
class Ranks:
    """What the ranks of a training run on.

    Attributes:
        device: `cpu`, or `cuda` for a GPU each.
        backend: what they talk by.
        threads: CPU threads of each.
    """

    device: Literal["cpu", "cuda"]
    backend: Literal["gloo", "nccl"]
    threads: int


class JobFolder:
    """The folder of one training.

    Args:
        path: where it is. `job.json` is written last: with it the rest is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.logs = path / "logs"
        self.messages = path / "messages.jsonl"
        self.refusal = path / "refusal.json"
        self._result = path / "result"

    def write(
        self, learner: Any, recipe: DescribesLearner, labeled: Any, job: TrainingJob, ranks: Ranks
    ) -> None:
        """Write all that a rank needs.

        Raises:
            LearnerError: the labeled or the validation set is not made of tensors.
            StorageError: the disk refused.
        """
        self.logs.mkdir()
        settings = LearnerSettings(
            seed=recipe.seed, learner=recipe.learner, training=recipe.training
        )
        self._write(LEARNER, yaml.safe_dump(settings.model_dump(mode="json")).encode())
        state: Mapping[str, bytes] = learner.state_files()
        for name, content in state.items():
            self._write(f"state_{name}", content)
        sample: torch.Tensor | None = learner.sample
        about = {
            "iteration": job.iteration,
            "seed": job.seed,
            "settings": job.settings.model_dump(mode="json"),
            "classes": learner.classes,
            "sample": None if sample is None else [list(sample.shape), _name(sample.dtype)],
            "state": list(state),
            "ranks": asdict(ranks),
            "labeled": write_labeled(self.path, "labeled", labeled),
            "validation": None
            if job.validation is None
            else write_labeled(self.path, "validation", job.validation),
        }
        latest = None if job.partial is None else job.partial.latest()
        if latest is not None:
            self._partial(job.iteration).save(*latest)
        self._write(JOB, json.dumps(about).encode())

    def _write(self, name: str, content: bytes) -> None:
        write_file(self.path / name, content, durable=False)

    def _partial(self, iteration: int) -> PartialCheckpoint:
        return PartialCheckpoint(self.path, iteration)

    def about(self) -> dict[str, Any]:
        """What `job.json` says."""
        return dict(json.loads((self.path / JOB).read_bytes()))

    @property
    def partial(self) -> PartialCheckpoint:
        """The newest state in mid-training."""
        return self._partial(self.about()["iteration"])

    def partial_stamp(self) -> object:
        """Something else whenever there may be another state in mid-training; None for none."""
        for manifest in self.path.glob("partial_*/manifest.json"):
            try:
                found = manifest.stat()
            except FileNotFoundError:  # it is being replaced
                return None
            return found.st_ino, found.st_mtime_ns
        return None

    def learner(self, device: torch.device) -> Learner:
        """The learner, as it is before this training.

        Raises:
            ConfigurationError: the model's package cannot be imported, or is not allowed.
        """
        about = self.about()
        content = yaml.safe_load((self.path / LEARNER).read_bytes())
        own = {
            "processes": 1,
            "distributed": {},
            "device": str(device),
            "threads": about["ranks"]["threads"],
        }
        settings = LearnerSettings.model_validate(
            {**content, "training": {**content["training"], **own}}
        )
        sample = None
        if about["sample"] is not None:
            shape, dtype = about["sample"]
            sample = torch.zeros(shape, dtype=getattr(torch, dtype))
        learner = build_learner(settings, classes=about["classes"], sample=sample)
        learner.load_state_files(
            {name: (self.path / f"state_{name}").read_bytes() for name in about["state"]}
        )
        return learner

    def labeled(self) -> LabeledSet:
        """What to learn from."""
        return read_labeled(self.path, "labeled", self.about()["labeled"])

    def job(self, device: torch.device, dtype: torch.dtype) -> TrainingJob:
        """The job, but for the group and where its reports go."""
        about = self.about()
        settings = TrainingConfig.model_validate(about["settings"])
        validation = about["validation"]
        return TrainingJob(
            iteration=about["iteration"],
            settings=settings,
            seed=about["seed"],
            device=device,
            dtype=dtype,
            validation=None
            if validation is None
            else read_labeled(self.path, "validation", validation),
            partial=self.partial if settings.checkpoint_epochs else None,
        )

    def write_result(self, report: TrainingReport, state: Mapping[str, bytes]) -> None:
        """What became of it: whole, or not there."""
        # The optimizer's state is in the learner's files.
        content = json.dumps(asdict(replace(report, optimizer_state=None))).encode()
        write_folder(self._result, {**state, _REPORT: content})

    def result(self) -> tuple[TrainingReport, dict[str, bytes]] | None:
        """The report and the learner's files; None where the training did not come to its end."""
        if not self._result.is_dir():
            return None
        files = {path.name: path.read_bytes() for path in self._result.iterdir()}
        return TrainingReport(**json.loads(files.pop(_REPORT))), files


def rank_device(ranks: Mapping[str, Any], local_rank: int) -> torch.device:
    """The device of a rank.

    Raises:
        LearnerError: it is not there on this machine.
    """
    if ranks["device"] == "cpu":
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise LearnerError(
            f"every training process needs a GPU of its own, and this machine has "
            f"{torch.cuda.device_count()}: lower training.processes, or set training.device to cpu"
        )
    return torch.device("cuda", local_rank)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
