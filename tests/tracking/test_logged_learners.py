"""Trained learners of each kind, logged as models and loaded in another process and folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient

from querist.config.load import build_experiment
from querist.learners.build import build_learner
from querist.pools import LabeledSet, TensorPool
from querist.runs.checkpoints import Checkpoints
from querist.tracking.deliver import deliver
from querist.tracking.spool import TrackingSpool
from querist.training.job import TrainingJob

from ..runs.test_learners_resumed import LEARNERS
from .conftest import Start
from .test_logged_model import ROOT, experiment, load_elsewhere, model_event, models


@pytest.mark.parametrize("name", ["partial_fit", "ensemble", "mc_dropout", "laplace"])
def test_a_logged_learner_predicts_elsewhere(
    spool: TrackingSpool,
    start: Start,
    client: MlflowClient,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(ROOT)
    content: dict[str, Any] = experiment(LEARNERS[name])
    (spool.folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    settings = build_experiment(content)
    features = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    labels = LabeledSet(TensorPool(features), torch.arange(20), torch.arange(20) % 2)
    learner = build_learner(settings, classes=2, sample=features[:1])
    learner.fit(
        labels,
        TrainingJob(
            iteration=0,
            settings=settings.training,
            seed=1,
            device=torch.device("cpu"),
            dtype=torch.float32,
        ),
    )
    about = {"classes": 2, "features": [2], "features_dtype": "float32"}
    Checkpoints(spool.folder / "checkpoints").save(3, learner.state_files(), about)
    expected = learner.predict_proba(features).double().numpy()
    np.save(spool.folder / "in.npy", features.numpy())
    np.save(spool.folder / "out.npy", expected)
    spool.append("start", **start())
    spool.append("model", **model_event())
    report = deliver(spool.folder)
    assert (report.error, report.problems) == (None, ())
    (model,) = models(client, str(report.mlflow_run_id))
    found = load_elsewhere(model, uri, spool.folder / "in.npy", tmp_path)
    np.testing.assert_array_equal(np.array(found["array"]), expected)
