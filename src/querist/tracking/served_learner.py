"""A learner out of the files of a logged model. Knows nothing of MLflow, which serves it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from querist.registry import ALLOWED_PACKAGES_VARIABLE, allowed_packages


class ServedLearner:
    """Probabilities of classes or labels, or numbers for regression.

    The code of user packages was logged with the model and is trusted as much as the model: they
    join the allow-list while the learner is built.

    Args:
        settings_file: the experiment, or the settings of a model version.
        checkpoint: the checkpoint's folder.
        dtype: what features are turned into.
        packages: the user packages that were logged with the model.
    """

    def __init__(
        self, settings_file: Path, checkpoint: Path, *, dtype: str, packages: Iterable[str]
    ) -> None:
        from querist.learners.restore import restore_learner

        self._dtype = np.dtype(dtype)
        before = os.environ.get(ALLOWED_PACKAGES_VARIABLE)
        allowed = sorted(allowed_packages() | set(packages))
        os.environ[ALLOWED_PACKAGES_VARIABLE] = ",".join(allowed)
        try:
            self._learner = restore_learner(settings_file, checkpoint)
        finally:
            if before is None:
                del os.environ[ALLOWED_PACKAGES_VARIABLE]
            else:
                os.environ[ALLOWED_PACKAGES_VARIABLE] = before

    def predict(self, features: Any) -> Any:
        """Probabilities `(n, c)`, or numbers, for features as array, tensor or frame."""
        import torch

        if isinstance(features, torch.Tensor):
            features = features.detach().cpu().numpy()
        given = torch.from_numpy(np.array(features, dtype=self._dtype))
        if self._learner.task.has_probabilities:
            return self._learner.predict_proba(given).double().numpy()
        return self._learner.predict(given).double().numpy()
