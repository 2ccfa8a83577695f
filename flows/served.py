"""What a served flow may do with the machine that serves it.

Whoever may trigger a flow types its parameters into a form. Where it writes and which tracker it
talks to, with whose credentials, is the operator's to say: `QUERIST_ROOT` in the environment of a
served flow makes both fixed.
"""

from __future__ import annotations

import os
from pathlib import Path

from querist.config import Experiment
from querist.config.comparison import Comparison
from querist.config.driver import DriverConfig
from querist.config.parallel import ParallelExperiment
from querist.config.retraining import Retraining
from querist.errors import ConfigurationError

ROOT_VARIABLE = "QUERIST_ROOT"
"""The folder, absolute, inside which served flows write; unset where the user is the operator."""
_NO_TRACKER = (
    "tracking.uri is the operator's to set where flows are served (MLFLOW_TRACKING_URI): remove it"
)


def as_served(experiment: Experiment) -> Experiment:
    """The experiment with its run folder inside the operator's; unchanged without one.

    Raises:
        ConfigurationError: it names a folder outside, or a tracker.
    """
    root = os.environ.get(ROOT_VARIABLE)
    if not root:
        return experiment
    if experiment.tracking.uri is not None:
        raise ConfigurationError(_NO_TRACKER)
    driver = experiment.driver.model_copy(
        update={"root_log_dir": _inside(Path(root), experiment.driver.root_log_dir)}
    )
    return experiment.model_copy(update={"driver": driver})


def root_as_served(folder: Path) -> Path:
    """A folder of runs and models inside the operator's; unchanged without one.

    Raises:
        ConfigurationError: it is outside.
    """
    root = os.environ.get(ROOT_VARIABLE)
    return _inside(Path(root), folder) if root else folder


def retraining_as_served(settings: Retraining) -> Retraining:
    """A retraining with its folder inside the operator's; its label collection's is the same.

    Raises:
        ConfigurationError: it names a folder outside, or a tracker.
    """
    if os.environ.get(ROOT_VARIABLE) and settings.tracking.uri is not None:
        raise ConfigurationError(_NO_TRACKER)
    collect = settings.collect
    if collect is not None:
        driver = collect.experiment.driver.model_copy(
            update={"root_log_dir": settings.root_log_dir, "run_id": None}
        )
        experiment = collect.experiment.model_copy(update={"driver": driver})
        collect = collect.model_copy(update={"experiment": experiment})
    root = root_as_served(settings.root_log_dir).absolute()
    return settings.model_copy(update={"root_log_dir": root, "collect": collect})


def parallel_as_served(experiment: ParallelExperiment) -> ParallelExperiment:
    """Parallel learners with their folders inside the operator's; unchanged without one.

    What each learner sets for itself is looked at when its own flow begins.

    Raises:
        ConfigurationError: it names a folder outside, a tracker, or a cluster.
    """
    if os.environ.get(ROOT_VARIABLE):
        if experiment.parallel.where in ("ray", "dask"):
            raise ConfigurationError(
                f"parallel.where {experiment.parallel.where!r} would open a cluster to whoever may "
                "trigger a flow that is served: use processes or deployment"
            )
        if experiment.parallel.address is not None:
            raise ConfigurationError(
                "parallel.address is the operator's to set where flows are served: remove it"
            )
    return experiment.model_copy(update={"base": as_served(experiment.base)})


def comparison_as_served(comparison: Comparison) -> Comparison:
    """A comparison with its folders inside the operator's; unchanged without one.

    Raises:
        ConfigurationError: it names a folder outside, or a tracker.
    """
    return comparison.model_copy(update={"base": as_served(comparison.base)})


def _inside(root: Path, wanted: Path) -> Path:
    """`wanted` below `root`; the default is `root` itself."""
    if wanted == DriverConfig().root_log_dir:
        return root
    # As it really is, so that neither `..` nor a symbolic link leads out of it.
    found = (root / wanted).resolve()
    if not found.is_relative_to(root.resolve()):
        raise ConfigurationError(
            f"driver.root_log_dir is a folder inside the operator's where flows are served, "
            f"unlike {str(wanted)!r}: remove it, or name a folder relative to that one"
        )
    return found
