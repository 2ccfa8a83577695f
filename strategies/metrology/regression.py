"""Errors of predicted numbers, as scikit-learn defines them; several outputs count alike.

A prediction that is NaN or infinite makes the metric NaN or infinite: a model that diverged is
recorded as such, and neither a stop criterion nor a gate takes it for good.
"""

from __future__ import annotations

import torch

from querist.context import MetrologyContext
from querist.registry import register
from querist.strategies.metrology.inputs import number_predictions
from querist.values import MetrologyRecord


@register("metrology", "mse")
class MeanSquaredError:
    """The mean squared error: `mse`, in squared units of the target."""

    measures = ("mse",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `mse`."""
        targets, predictions = number_predictions(context, "mse")
        return MetrologyRecord({"mse": float((targets - predictions).square().mean())})

    def of_each(self, context: MetrologyContext) -> torch.Tensor:
        """The squared error of each sample `(m,)`; of several outputs their mean."""
        targets, predictions = number_predictions(context, "mse")
        return (targets - predictions).square().mean(1)


@register("metrology", "rmse")
class RootMeanSquaredError:
    """The square root of the mean squared error: `rmse`, in units of the target."""

    measures = ("rmse",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `rmse`; of several outputs the mean of their roots."""
        targets, predictions = number_predictions(context, "rmse")
        roots = (targets - predictions).square().mean(0).sqrt()
        return MetrologyRecord({"rmse": float(roots.mean())})


@register("metrology", "mae")
class MeanAbsoluteError:
    """The mean absolute error: `mae`, in units of the target."""

    measures = ("mae",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `mae`."""
        targets, predictions = number_predictions(context, "mae")
        return MetrologyRecord({"mae": float((targets - predictions).abs().mean())})

    def of_each(self, context: MetrologyContext) -> torch.Tensor:
        """The absolute error of each sample `(m,)`; of several outputs their mean."""
        targets, predictions = number_predictions(context, "mae")
        return (targets - predictions).abs().mean(1)


@register("metrology", "r2")
class RSquared:
    """The share of the targets' variance that is explained: `r2`, at most 1."""

    measures = ("r2",)

    def compute(self, context: MetrologyContext) -> MetrologyRecord:
        """One value, `r2`; NaN for a single sample, which has no variance.

        An output whose targets are all equal counts 1 when it is predicted exactly, else 0.
        """
        targets, predictions = number_predictions(context, "r2")
        if len(targets) < 2:
            return MetrologyRecord({"r2": float("nan")})
        unexplained = (targets - predictions).square().sum(0)
        # Not `total == 0`: the mean of equal numbers may differ from them in the last bit.
        constant = (targets == targets[0]).all(0)
        total = (targets - targets.mean(0)).square().sum(0)
        of_constant = (unexplained == 0).to(total.dtype)
        of_constant = torch.where(torch.isfinite(unexplained), of_constant, unexplained * torch.nan)
        r2 = torch.where(constant, of_constant, 1 - unexplained / total)
        return MetrologyRecord({"r2": float(r2.mean())})
