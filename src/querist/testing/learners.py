"""The contract of a learner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import torch

from querist.config.component import Component
from querist.config.learner import LearnerSettings
from querist.config.training import TrainingConfig
from querist.learners.build import as_learner, build_learner
from querist.pools.labeled import LabeledSet
from querist.protocols import Learner, SamplingPredictor
from querist.randomness import seeded_globally
from querist.testing.learner_views import LearnerViews
from querist.testing.probabilities import check_probabilities
from querist.testing.small_training import (
    CLASSES,
    FEATURES,
    FEW,
    LABELS,
    MORE,
    NUMBERS,
    POOL,
    SIZE,
    TARGETS,
    KeptState,
    KilledError,
    killer,
)
from querist.testing.stored import complaint_about
from querist.testing.suite import global_randomness_untouched, refusal, run_suite
from querist.training.job import EpochReport, TrainingJob, TrainingReport
from querist.values import Task


class LearnerContract(LearnerViews):
    """What every learner keeps. Subclass it and name the learner, or define `make`.

    The samples are 60 with 4 features in 0 .. 2.5, of 3 classes that a line can tell apart; or
    with numbers that are nearly sums of the features; or with three labels, each there or not.

    Attributes:
        learner: the component, as under `learner` in a configuration; None where `make` is defined.
        training: the settings that it is trained with.
        task: what it predicts.
        floor: accuracy (each label for itself), or R², that it reaches on what it learned from.
        learns_from_one_class: False where one class alone is refused.
    """

    learner: str | Mapping[str, Any] | None = None
    training: ClassVar[Mapping[str, Any]] = {}
    task: Task = Task.CLASSIFICATION
    floor: float = 0.8
    learns_from_one_class: bool = True

    def make(self) -> Learner:
        """A fresh learner, the same one each time."""
        if self.learner is None:
            raise NotImplementedError("define make(), or name the learner: it is a fresh learner")
        return build_learner(self._settings(), classes=self._classes, sample=FEATURES[:1])

    def learner_of(self, model: Callable[[], Any]) -> Learner:
        """What a run makes of a module or an estimator, for a `make` of your own.

        Args:
            model: makes it; weights are drawn from a seed.
        """

        def remake(seed: int) -> Any:
            with seeded_globally(seed):
                return model()

        return as_learner(
            remake(0),
            self._settings(),
            classes=self._classes,
            sample=FEATURES[:1],
            remake=remake,
        )

    @property
    def _classes(self) -> int | None:
        return CLASSES if self.task is Task.CLASSIFICATION else None

    @property
    def _numbers(self) -> bool:
        return self.task is Task.REGRESSION

    def _settings(self) -> LearnerSettings:
        training = {**_TRAINING, **self.training}
        component = Component.model_validate(self.learner or "named in make")
        return LearnerSettings(
            seed=3, learner=component, training=TrainingConfig.model_validate(training)
        )

    @property
    def _labels(self) -> bool:
        return self.task is Task.MULTILABEL

    def _targets(self) -> torch.Tensor:
        return {Task.REGRESSION: NUMBERS, Task.MULTILABEL: LABELS}.get(self.task, TARGETS)

    def _labeled(self, n: int = FEW, targets: torch.Tensor | None = None) -> LabeledSet:
        targets = self._targets() if targets is None else targets
        return LabeledSet(POOL, torch.arange(n), targets[:n])

    def _fit(
        self, learner: Learner, iteration: int = 0, labeled: LabeledSet | None = None, **more: Any
    ) -> TrainingReport:
        """One training as a run does it; `more` are fields of the job or training settings."""
        own = {key: more.pop(key) for key in list(more) if key in TrainingJob.__dataclass_fields__}
        training = {**_TRAINING, **self.training, **more}
        job = TrainingJob(
            iteration=iteration,
            settings=TrainingConfig.model_validate(training),
            seed=5,
            device=torch.device("cpu"),
            dtype=getattr(learner, "dtype", torch.float32),
            **own,
        )
        if labeled is None:
            labeled = self._labeled(MORE if iteration else FEW)
        return learner.fit(labeled, job)

    def _fitted(self, labeled: LabeledSet | None = None, **more: Any) -> Learner:
        learner = self.make()
        self._fit(learner, labeled=labeled, **more)
        return learner

    def _answers(self, learner: Learner, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Everything that the learner says of the features; classes only by their probabilities."""
        found = {}
        if self._numbers:
            found["predict"] = learner.predict(features)
        else:
            found["predict_proba"] = learner.predict_proba(features)
        if isinstance(learner, SamplingPredictor):
            kind = "predict_samples" if self._numbers else "predict_proba_samples"
            found[kind] = getattr(learner, kind)(features)
        return found

    def _check_equal(self, learner: Learner, other: Learner, why: str) -> None:
        mine, theirs = self._answers(learner, FEATURES), self._answers(other, FEATURES)
        for name, tensor in mine.items():
            assert torch.equal(tensor, theirs[name]), f"{name} is another one: {why}"

    def test_says_its_task(self) -> None:
        """Classification, regression or multilabel, before it was ever fitted."""
        task = self.make().task
        assert task is self.task, f"the task is {self.task}, not {task!r}"

    def test_learns(self) -> None:
        """It gets better than a guess on what it was trained on, and reports what it did."""
        learner = self.make()
        reports: list[EpochReport] = []
        report = self._fit(learner, on_epoch=reports.append)
        assert isinstance(report, TrainingReport), f"fit returned {report!r}"
        assert report.epochs >= 1, f"it trained for {report.epochs} epochs"
        assert report.train_loss is None or math.isfinite(report.train_loss), (
            f"the training loss is {report.train_loss}"
        )
        assert all(isinstance(r, EpochReport) for r in reports), f"on_epoch was given {reports!r}"
        found, targets = learner.predict(FEATURES[:FEW]), self._targets()[:FEW]
        if self._numbers:
            reached = float(1 - (found - targets).square().mean() / targets.var(correction=0))
        else:
            reached = float((found == targets).double().mean())
        assert reached >= self.floor, f"it reached {reached:.2f}, not {self.floor}: raise epochs"

    def test_probabilities_are_probabilities(self) -> None:
        """`(n, c)` on the CPU, finite, not negative; rows of classes sum to 1."""
        learner = self._fitted()
        if self._numbers:
            why = "a regression learner has no class probabilities"
            refusal(lambda: learner.predict_proba(FEATURES), why)
            return
        self._check_probabilities(learner.predict_proba(FEATURES), (SIZE, CLASSES), "predict_proba")

    def test_predictions_have_their_shape(self) -> None:
        """Classes are those of the highest probability; numbers are finite, one per sample.

        Labels are floats 0 and 1, there from above one half on.
        """
        learner = self._fitted()
        found = learner.predict(FEATURES)
        shape = (SIZE, CLASSES) if self._labels else (SIZE,)
        assert found.shape == shape, f"predict gives {shape}, not {tuple(found.shape)}"
        assert found.device.type == "cpu", f"predictions are on {found.device}, not on the CPU"
        if self._numbers:
            assert found.is_floating_point(), f"numbers are floats, not {found.dtype}"
            assert bool(found.isfinite().all()), "numbers must be finite"
            return
        if self._labels:
            likely = learner.predict_proba(FEATURES)
            assert torch.equal(found, (likely > 0.5).float()), "labels are not those above 0.5"
            return
        assert found.dtype == torch.int64, f"classes are int64, not {found.dtype}"
        best = learner.predict_proba(FEATURES).argmax(1)
        assert torch.equal(found, best), "predict is not the class of the highest probability"

    def test_predictions_change_nothing(self) -> None:
        """The learner, the features and all that is global stay; asked again it says the same."""
        learner = self._fitted()
        before, features = dict(learner.state_files()), FEATURES.clone()
        threads = torch.get_num_threads()
        with global_randomness_untouched():
            first = self._answers(learner, features)
        torch.rand(3)
        again = self._answers(learner, features)
        for name, tensor in first.items():
            assert torch.equal(tensor, again[name]), f"asked again, {name} said something else"
            assert not tensor.requires_grad, f"{name} keeps a graph of gradients"
        assert dict(learner.state_files()) == before, "predictions changed the learner's state"
        assert torch.equal(features, FEATURES), "predictions changed the features"
        assert torch.get_num_threads() == threads, "predictions changed the number of threads"

    def test_chunks_do_not_matter(self) -> None:
        """Rows are answered alone as they are among others, up to rounding."""
        learner = self._fitted()
        whole = self._answers(learner, FEATURES)
        for size in (1, 7, 32):
            parts = [self._answers(learner, chunk) for chunk in FEATURES.split(size)]
            for name, tensor in whole.items():
                rows = 1 if name.endswith("samples") else 0
                joined = torch.cat([part[name] for part in parts], dim=rows)
                off = float((joined - tensor).abs().max())
                assert torch.allclose(joined, tensor, rtol=1e-4, atol=1e-5), (
                    f"{name} depends on how features are split: by {size} it is off by {off}"
                )

    def test_no_features_get_no_predictions(self) -> None:
        """Zero rows in, zero rows out."""
        learner = self._fitted()
        for name, tensor in self._answers(learner, FEATURES[:0]).items():
            rows = 1 if name.endswith("samples") else 0
            assert tensor.shape[rows] == 0, f"{name} of no rows has shape {tuple(tensor.shape)}"
            full = self._answers(learner, FEATURES[:2])[name].shape
            rest = (*tensor.shape[:rows], *tensor.shape[rows + 1 :])
            assert rest == (*full[:rows], *full[rows + 1 :]), (
                f"{name} of no rows has shape {tuple(tensor.shape)}, of two {tuple(full)}"
            )
        assert len(learner.predict(FEATURES[:0])) == 0, "predict of no rows has rows"

    def test_is_deterministic_for_a_seed(self) -> None:
        """Equal jobs give equal learners, bit for bit, and leave global randomness alone."""
        learner = self.make()
        with global_randomness_untouched():
            self._fit(learner)
        torch.rand(3)
        other = self._fitted()
        self._check_equal(learner, other, "the same training was done twice")
        assert dict(learner.state_files()) == dict(other.state_files()), (
            "the same training gave other state_files"
        )

    def test_state_comes_back(self) -> None:
        """A fresh learner with the state predicts the same, and trains on the same, bit for bit."""
        keeping: dict[str, Any] = {"reset_optimizer": False}
        for settings in ({}, keeping):
            learner = self._fitted(**settings)
            files = dict(learner.state_files())
            other = self.make()
            other.load_state_files(files)
            self._check_equal(learner, other, "the state was loaded into a fresh learner")
            assert dict(other.state_files()) == files, "the loaded state is stored differently"
            for one in (learner, other):
                self._fit(one, iteration=1, **settings)
            self._check_equal(learner, other, "it was trained on from the loaded state")

    def test_state_holds_no_code(self) -> None:
        """Files are bytes under plain names, and none is a pickle that could run something."""
        for name, content in self._fitted().state_files().items():
            assert isinstance(content, bytes), f"{name} is bytes, not {type(content).__name__}"
            plain = name not in ("", ".", "..", "manifest.json") and not {"/", "\\"} & set(name)
            assert plain, f"{name!r} cannot be a file of a checkpoint"
            complaint = complaint_about(content)
            assert complaint is None, f"{name} {complaint}"

    def test_reset_gives_the_first_weights(self) -> None:
        """After a reset it is as if it was never fitted."""
        learner = self._fitted()
        learner.reset()
        assert dict(learner.state_files()) == dict(self.make().state_files()), (
            "after a reset the state is not that of a fresh learner"
        )
        self._fit(learner)
        self._check_equal(learner, self._fitted(), "it was trained after a reset")

    def test_learns_on_in_later_iterations(self) -> None:
        """More labels in iteration 1 are learned from, whatever the iteration starts from."""
        for start in ("fine_tune", "scratch"):
            learner = self._fitted()
            self._fit(learner, iteration=1, warm_start=start)
            for name, tensor in self._answers(learner, FEATURES).items():
                assert bool(tensor.isfinite().all()), f"{name} is not finite after iteration 1"

    def test_keeps_a_column_for_classes_without_a_label(self) -> None:
        """Where class 1 has no label, there are three columns all the same; later it has some."""
        if self.task is not Task.CLASSIFICATION:
            return
        rows = torch.arange(SIZE)[TARGETS != 1][:FEW]
        learner = self._fitted(LabeledSet(POOL, rows, TARGETS[rows]))
        self._check_probabilities(learner.predict_proba(FEATURES), (SIZE, CLASSES), "predict_proba")
        self._fit(learner, iteration=1)
        found = learner.predict_proba(FEATURES)
        self._check_probabilities(found, (SIZE, CLASSES), "with all classes, predict_proba")

    def test_survives_one_class(self) -> None:
        """Labels of one class alone (or one number) are learned from, or refused in words."""
        same = torch.full_like(self._targets(), 1 if self._labels else 2)
        labeled = self._labeled(targets=same)
        if self.task is Task.CLASSIFICATION and not self.learns_from_one_class:
            refusal(lambda: self._fitted(labeled), "labels of one class are refused in words")
            return
        learner = self._fitted(labeled)
        for name, tensor in self._answers(learner, FEATURES).items():
            assert bool(tensor.isfinite().all()), f"{name} is not finite after one class"

    def test_takes_a_validation_set(self) -> None:
        """A validation set is used or left alone, and a loss of it is a number."""
        rows = torch.arange(MORE, SIZE)
        learner = self.make()
        validation = LabeledSet(POOL, rows, self._targets()[rows])
        report = self._fit(learner, validation=validation, early_stopping={"patience": 2})
        loss = report.validation_loss
        assert loss is None or math.isfinite(loss), f"the validation loss is {loss}"

    def test_a_training_that_was_cut_off_comes_to_the_same_end(self) -> None:
        """Killed at any epoch and begun again, with what was kept on the way."""
        settings: dict[str, Any] = {"checkpoint_epochs": 2, "max_training_epochs": 5}
        whole = self._fitted(partial=KeptState(), **settings)
        for last in (1, 3):
            kept = KeptState()
            killed = self.make()
            with suppress(KilledError):
                self._fit(killed, partial=kept, on_epoch=killer(last), **settings)
            again = self._fitted(partial=kept, **settings)
            self._check_equal(whole, again, f"the training was cut off after {last} reports")

    def test_samples_are_of_the_same_kind(self) -> None:
        """What `predict_proba_samples` or `predict_samples` gives, where it has them."""
        learner = self._fitted()
        if not isinstance(learner, SamplingPredictor):
            return
        drawn = learner.predict_samples(FEATURES)
        number = len(drawn)
        shape = (number, SIZE, CLASSES) if self._labels else (number, SIZE)
        assert drawn.shape == shape, f"samples are {shape}, not {tuple(drawn.shape)}"
        assert drawn.device.type == "cpu", f"samples are on {drawn.device}, not on the CPU"
        assert bool(drawn.isfinite().all()), "samples must be finite"
        if self._numbers:
            why = "a regression learner has no class probabilities"
            refusal(lambda: learner.predict_proba_samples(FEATURES), why)
            return
        found = learner.predict_proba_samples(FEATURES)
        self._check_probabilities(found, (number, SIZE, CLASSES), "predict_proba_samples")
        best = (found > 0.5).float() if self._labels else found.argmax(2)
        assert torch.equal(best, drawn), "samples are not what their probabilities come to"

    def _check_probabilities(self, found: torch.Tensor, shape: Sequence[int], name: str) -> None:
        check_probabilities(found, shape, name, sum_to_one=not self._labels)


_TRAINING = {
    "max_training_epochs": 12,
    "batch_size": 8,
    "optimizer": {"name": "Adam", "options": {"lr": 0.1}},
    "device": "cpu",
    "threads": 1,
}


def check_learner(
    learner: str | Mapping[str, Any] | Callable[[], Learner],
    *,
    task: Task = Task.CLASSIFICATION,
    training: Mapping[str, Any] | None = None,
    floor: float = LearnerContract.floor,
    learns_from_one_class: bool = True,
) -> None:
    """Run the whole contract on a component, or on what a function makes.

    Raises:
        AssertionError: the first thing that is not as the contract says.
    """
    suite = LearnerContract()
    if isinstance(learner, str | Mapping):
        suite.learner = learner
    else:
        suite.make = learner  # type: ignore[method-assign]
    suite.task = task
    suite.floor = floor
    suite.learns_from_one_class = learns_from_one_class
    suite.training = training or {}  # type: ignore[misc]
    run_suite(suite)
