"""MLflow. The only file that imports it; only the deliverer and whoever serves a model load it.

Called again with the same arguments nothing here changes anything: runs and models are found again
by tags, metrics carry the event's own time, which is part of their key.

Models are logged in the steps of `mlflow.pyfunc.log_model`, less three that cost seconds: finding
out the requirements (they are given), trying the input example (it would import torch here; the
run has predicted with that very model), and reading all metrics back.
"""

from __future__ import annotations

import getpass
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from querist.tracking.mlflow_environment import set_up_mlflow

set_up_mlflow()

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
import yaml  # noqa: E402
from mlflow.entities import (  # noqa: E402
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models import Model, infer_signature, set_model  # noqa: E402
from mlflow.pyfunc import save_model  # noqa: E402
from mlflow.pyfunc.model import PythonModel  # noqa: E402

from querist.tracking.address import is_remote, is_server  # noqa: E402
from querist.tracking.asked_client import AskedClient  # noqa: E402
from querist.tracking.asking import Asking  # noqa: E402
from querist.tracking.mlflow_names import (  # noqa: E402
    MAX_PARAM_VALUE,
    MAX_TAG_VALUE,
    key_for,
    model_name_for,
    text_for,
)
from querist.tracking.model_requirements import model_requirements  # noqa: E402
from querist.tracking.new_database import make_database  # noqa: E402
from querist.tracking.registered import SPOOL_TAG  # noqa: E402
from querist.tracking.served_learner import ServedLearner  # noqa: E402
from querist.tracking.spool import UndeliverableError  # noqa: E402
from querist.tracking.user_code import UserCode, copy_user_code, find_user_code  # noqa: E402

logging.getLogger("alembic").setLevel(logging.WARNING)

SEQ_TAG = "querist.seq"
CUT_TAG = "querist.cut_params"
CHANGED_TAG = "querist.changed_params"
MAX_METRICS = 1000
_MAX_PARAMS = 100
_SQLITE = "sqlite:///"
_SCRIPT = Path(__file__).with_name("model_from_code.py")


class MlflowStore:
    """One MLflow tracking store, and the run in it that belongs to one spool.

    Args:
        uri: where it is.
        spool_id: the spool's own digest.
        asking: where it is said that a server was asked and has not answered yet.

    Attributes:
        uri: where it is.
        client: an `MlflowClient`, which says when an answer is due.
    """

    def __init__(self, uri: str, spool_id: str, asking: Asking) -> None:
        self.uri = uri
        self._spool_id = spool_id
        self._database = not (is_server(uri) or uri.startswith("databricks"))
        if uri.startswith(_SQLITE):
            make_database(Path(uri.removeprefix(_SQLITE)), _make_tables)
        self.client: Any = (
            AskedClient(mlflow.MlflowClient, uri, asking)
            if is_remote(uri)
            else mlflow.MlflowClient(tracking_uri=uri)
        )

    def open_run(self, start: Mapping[str, Any], *, time: float, run_id: str | None) -> Run:
        """The MLflow run of this spool, created unless it is there, with what `start` says."""
        run: Run | None = self.client.get_run(run_id) if run_id else None
        if run is None:
            run = self._find_or_create(start, time=time)
        elif run.info.status != "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")
        run_id = run.info.run_id
        notes = self._log_params(run, start.get("params") or {})
        self.set_tags(run_id, {**(start.get("tags") or {}), **notes})
        if start.get("dataset"):
            self.client.log_inputs(run_id, [_dataset_input(start["dataset"])])
        return run

    def log_metrics(self, run_id: str, points: Iterable[tuple[str, float, int, float]]) -> None:
        """Log `(name, value, step, time)` points, in as few requests as MLflow allows."""
        metrics = [
            Metric(key_for(name), value, round(time * 1000), step)
            for name, value, step, time in points
        ]
        for chunk in _chunks(metrics, MAX_METRICS):
            self.client.log_batch(run_id, metrics=chunk)

    def log_artifact(self, run_id: str, path: Path, artifact_path: str | None) -> None:
        """Copy a file, or a folder under its own name, to the run's artifacts."""
        if path.is_dir():
            below = "/".join(part for part in (artifact_path, path.name) if part)
            self.client.log_artifacts(run_id, str(path), below)
        else:
            self.client.log_artifact(run_id, str(path), artifact_path)

    def set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags on the run; `parent` is the MLflow run that this one is nested in."""
        named = {"mlflow.parentRunId" if k == "parent" else key_for(k): v for k, v in tags.items()}
        entries = [RunTag(k, text_for(v, MAX_TAG_VALUE)) for k, v in named.items() if v is not None]
        for chunk in _chunks(entries, _MAX_PARAMS):
            self.client.log_batch(run_id, tags=chunk)

    def end(self, run_id: str, *, status: str, time: float) -> None:
        """Close the run, and remove what a lost answer has left beside it.

        One that is SCHEDULED has no end: it will be gone on with.
        """
        self._remove_doubles(run_id)
        if status == "SCHEDULED":
            self.client.update_run(run_id, status=status)
            return
        self.client.set_terminated(run_id, status, end_time=round(time * 1000))

    def log_model(
        self,
        run_id: str,
        *,
        seq: int,
        name: str,
        step: int,
        experiment_file: Path,
        checkpoint: Path,
        input_example: Path,
        output_example: Path,
        metrics: Sequence[tuple[str, float, int, float]],
    ) -> list[str]:
        """Log the model of one checkpoint, with the metrics of its step.

        Returns:
            What is not as it should be, in words; the model was logged all the same.

        Raises:
            UndeliverableError: its files cannot be made into a model.
        """
        run = self.client.get_run(run_id)
        begun = next(iter(self._models(run).get(str(seq), [])), None)  # by an earlier delivery
        model = begun or self.client.create_logged_model(
            run.info.experiment_id,
            name=model_name_for(name),
            source_run_id=run_id,
            tags={SPOOL_TAG: self._spool_id, SEQ_TAG: str(seq)},
            params=run.data.params,
        )
        if str(model.status) == "READY":
            return []
        with tempfile.TemporaryDirectory(prefix="querist-model-") as scratch:
            folder = Path(scratch) / "model"
            try:
                code = _save_model(
                    folder,
                    Path(scratch) / "code",
                    Model(
                        artifact_path=model.artifact_location,
                        model_uuid=model.model_id,
                        run_id=run_id,
                        model_id=model.model_id,
                    ),
                    experiment_file=experiment_file,
                    checkpoint=checkpoint,
                    input_example=np.load(input_example, allow_pickle=False),
                    output_example=np.load(output_example, allow_pickle=False),
                )
            except (ValueError, TypeError, FileNotFoundError, yaml.YAMLError, MlflowException) as e:
                self.client.finalize_logged_model(model.model_id, "FAILED")
                raise UndeliverableError(f"the model of step {step} cannot be logged: {e}") from e
            self.client.log_model_artifacts(model.model_id, str(folder))
        outputs = run.outputs.model_outputs if run.outputs else []
        if all(output.model_id != model.model_id for output in outputs):
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=step)])
        if metrics:
            of_model = [
                Metric(key_for(n), v, round(t * 1000), s, model_id=model.model_id, run_id=run_id)
                for n, v, s, t in metrics[:MAX_METRICS]
            ]
            self.client.log_batch(run_id, metrics=of_model)
        self.client.finalize_logged_model(model.model_id, "READY")
        return [
            f"the code of {package!r} was not found, so the model of step {step} was logged "
            "without it: run `querist sync` from the folder that holds it"
            for package in code.missing
        ]

    def logged_model(self, run_id: str, name: str) -> LoggedModel:
        """The model of this name that the run has logged, the newest of several.

        Raises:
            UndeliverableError: the run has logged no such model.
        """
        found = self._models(self.client.get_run(run_id)).values()
        logged = [m for models in found for m in models if m.name == model_name_for(name)]
        if not logged:
            raise UndeliverableError(f"the run has logged no model {name!r}")
        return max(logged, key=lambda model: (model.creation_timestamp, model.model_id))

    def _find_or_create(self, start: Mapping[str, Any], *, time: float) -> Run:
        experiment_id = self._experiment(str(start["experiment"]), start.get("artifact_root"))
        if found := self._runs(experiment_id):
            first: Run = self.client.get_run(found[0])
            return first
        tags = {
            SPOOL_TAG: self._spool_id,
            "mlflow.user": getpass.getuser(),
            "mlflow.source.name": "querist",
            "mlflow.source.type": "LOCAL",
        }
        name = text_for(str(start["run_name"]), MAX_TAG_VALUE)
        made: Run = self.client.create_run(
            experiment_id, start_time=round(time * 1000), tags=tags, run_name=name
        )
        return made

    def _experiment(self, name: str, artifact_root: str | None) -> str:
        """The id of the experiment, created unless it is there."""
        name = text_for(name, 500)
        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = None
            if self._database:
                location = self._artifact_root(artifact_root).resolve().as_uri()
            try:
                return str(self.client.create_experiment(name, artifact_location=location))
            except MlflowException:  # a learner beside this one was faster
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise RuntimeError(
                f"the MLflow experiment {name!r} is deleted: restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`"
            )
        return str(found.experiment_id)

    def _artifact_root(self, given: str | None) -> Path:
        """MLflow's own default is ./mlruns of whoever comes first; ours lies by the database."""
        if given:
            return Path(given)
        if self.uri.startswith(_SQLITE):
            return Path(self.uri.removeprefix(_SQLITE)).parent / "mlartifacts"
        return Path("mlartifacts")

    def _log_params(self, run: Run, params: Mapping[str, Any]) -> dict[str, str]:
        """Log the parameters that the run has not; MLflow refuses to change one.

        Returns:
            Tags that name the parameters that were cut or have changed since.
        """
        texts = {key_for(k): text_for(v, MAX_PARAM_VALUE) for k, v in params.items()}
        present = run.data.params
        fresh = [Param(k, v) for k, v in texts.items() if k not in present]
        for chunk in _chunks(fresh, _MAX_PARAMS):
            self.client.log_batch(run.info.run_id, params=chunk)
        cut = [k for k, v in params.items() if text_for(v, MAX_PARAM_VALUE) != text_for(v, 10**9)]
        changed = [k for k, v in texts.items() if present.get(k, v) != v]
        notes = {CUT_TAG: cut, CHANGED_TAG: changed}
        return {tag: ", ".join(keys) for tag, keys in notes.items() if keys}

    def _runs(self, experiment_id: str) -> list[str]:
        """The runs of this spool, the first one that was made first."""
        found = self.client.search_runs(
            [experiment_id],
            f"tags.`{SPOOL_TAG}` = '{self._spool_id}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=50,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        )
        return [run.info.run_id for run in found]

    def _models(self, run: Run) -> dict[str, list[LoggedModel]]:
        """The models of a run by the event they came with; one that is ready comes first."""
        found: dict[str, list[LoggedModel]] = {}
        token = None
        while True:
            page = self.client.search_logged_models(
                [run.info.experiment_id],
                f"source_run_id = '{run.info.run_id}'",
                max_results=50,
                page_token=token,
            )
            for model in page:
                if SEQ_TAG in model.tags and str(model.status) != "FAILED":
                    found.setdefault(model.tags[SEQ_TAG], []).append(model)
            token = page.token
            if not token:
                break
        for models in found.values():
            models.sort(key=lambda m: (str(m.status) != "READY", m.creation_timestamp, m.model_id))
        return found

    def _remove_doubles(self, run_id: str) -> None:
        """Remove runs and models that were made twice.

        A server may do what it was asked for long after nobody waits for the answer any more; by
        then it was asked again.
        """
        run = self.client.get_run(run_id)
        for double in set(self._runs(run.info.experiment_id)) - {run_id}:
            self.client.delete_run(double)
        for models in self._models(run).values():
            for model in models[1:]:
                self.client.delete_logged_model(model.model_id)


def _make_tables(path: Path) -> object:
    return mlflow.MlflowClient(tracking_uri=f"{_SQLITE}{path}")


def _save_model(
    folder: Path,
    code_folder: Path,
    model: Model,
    *,
    experiment_file: Path,
    checkpoint: Path,
    input_example: np.ndarray[Any, Any],
    output_example: np.ndarray[Any, Any],
) -> UserCode:
    code = find_user_code(yaml.safe_load(experiment_file.read_text(encoding="utf-8")))
    save_model(
        path=str(folder),
        mlflow_model=model,
        python_model=str(_SCRIPT),
        artifacts={"experiment": str(experiment_file), "checkpoint": str(checkpoint)},
        signature=infer_signature(input_example, output_example),
        input_example=input_example,
        pip_requirements=model_requirements(code),
        code_paths=[str(path) for path in copy_user_code(code, code_folder)] or None,
        model_config={"dtype": str(input_example.dtype), "packages": list(code.packages)},
    )
    return code


def _dataset_input(dataset: Mapping[str, Any]) -> DatasetInput:
    """A data set as an input of the run; MLflow keeps 36 characters of its digest."""
    digest = str(dataset["digest"])
    shape = {key: dataset.get(key) for key in ("size", "classes", "features")}
    return DatasetInput(
        Dataset(
            name=text_for(str(dataset["name"]), 500),
            digest=digest[:36],
            source_type="querist",
            source=json.dumps({"name": dataset["name"], "digest": digest})[:65_000],
            profile=json.dumps({"num_rows": shape.pop("size"), **shape}),
        ),
        tags=[InputTag("mlflow.data.context", "active learning pool")],
    )


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def serve_model() -> None:
    """Tell MLflow what to serve; called by the script that lies beside every logged model."""
    set_model(LearnerModel())


class LearnerModel(PythonModel):
    """A learner as MLflow serves it: class probabilities, or numbers for regression."""

    def load_context(self, context: Any) -> None:
        """Build the learner from the configuration and checkpoint that were logged."""
        config = context.model_config or {}
        self._learner = ServedLearner(
            Path(context.artifacts["experiment"]),
            Path(context.artifacts["checkpoint"]),
            dtype=config.get("dtype", "float32"),
            packages=config.get("packages", ()),
        )

    # MLflow guesses a signature from this hint, unless it is exactly this; frames and tensors do.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:
        """Class probabilities `(n, c)`, or numbers, for features as array, tensor or frame."""
        return self._learner.predict(model_input)
