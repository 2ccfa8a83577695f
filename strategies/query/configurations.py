"""What a batch's labels may be, and what each possibility would say about the learner's models.

A configuration is one label for each sample of the batch. It has a probability, and makes some of
the t models more likely than others. All configurations of b samples of c classes are c^b; as long
as they are few all are kept, after that a draw of them. What is left to learn from one more sample
is then the mean, over configurations, of the entropy of its prediction by models that are weighted
so: the same estimate as by the joint entropies of Kirsch et al. (arXiv:1906.08158), where a sum
over the sample's labels has been carried out.

Resampling the configurations from pick to pick, as a particle filter does, was tried: after ten
picks its error was six times that of the draw below, whose models always stay equally likely.
"""

from __future__ import annotations

import torch

BLOCK = 2**18
"""So many probabilities at a time: they should lie in a core's cache."""
RARE = 1e-12
"""Configurations that are less likely are left out."""


class Configurations:
    """Labels that a batch may have: of no sample yet, which is one configuration.

    Args:
        models: how many there are, equally likely.
        most: how many configurations are kept.
        generator: draws them where there are more.

    Attributes:
        weights: probability of each `(m,)`, in float64.
        posteriors: of each, how likely it makes the models `(m, t)`, in float64.
    """

    def __init__(self, models: int, most: int, generator: torch.Generator) -> None:
        self._models = models
        self._most = most
        self._generator = generator
        self._batch: list[torch.Tensor] = []
        self._nothing_known()
        # Which configuration each draw has come to, once there are too many to keep them all.
        self._drawn: torch.Tensor | None = None

    def _nothing_known(self) -> None:
        self.weights = torch.ones(1, dtype=torch.float64)
        self.posteriors = torch.full((1, self._models), 1 / self._models, dtype=torch.float64)

    def add(self, sample: torch.Tensor) -> None:
        """One more sample joins the batch.

        Args:
            sample: its class probabilities by each model `(t, c)`.
        """
        sample = sample.cpu().double()
        self._batch.append(sample)
        if self._drawn is not None:
            self._draw(sample)
            return
        weights = (self.weights[:, None] * (self.posteriors @ sample)).flatten()
        kept = torch.nonzero(weights > RARE).squeeze(1)
        if len(kept) <= self._most:
            self.weights = weights[kept] / weights[kept].sum()
            self._extend(kept, sample)
            return
        self._nothing_known()
        self._drawn = torch.zeros(self._most, dtype=torch.int64)
        for each in self._batch:
            self._draw(each)

    def _draw(self, sample: torch.Tensor) -> None:
        """Each draw has a model, all models equally often, and gets a label by this model.

        Of the draws of one model, labels are spread as evenly as their probabilities allow.
        """
        assert self._drawn is not None
        classes = sample.shape[1]
        model = torch.arange(self._most) * self._models // self._most
        first = torch.searchsorted(model, model)
        size = torch.searchsorted(model, model, right=True) - first
        shuffle = torch.rand(self._most, dtype=torch.float64, generator=self._generator)
        place = torch.empty_like(model)
        place[(model + shuffle).argsort()] = torch.arange(self._most)
        jitter = torch.rand(self._most, dtype=torch.float64, generator=self._generator)
        ends = sample.cumsum(1)
        # Below the end, also where it is rounded: what is drawn must be possible.
        height = ((place - first + jitter) / size).clamp_max(1 - RARE) * ends[model, -1]
        label = (height[:, None] >= ends[model]).sum(1).clamp_max(classes - 1)
        kept, self._drawn, counts = torch.unique(
            self._drawn * classes + label, return_inverse=True, return_counts=True
        )
        self.weights = counts.double() / self._most
        self._extend(kept, sample)

    def _extend(self, kept: torch.Tensor, sample: torch.Tensor) -> None:
        """Configurations by their numbers: that of what comes before, times c, plus the label."""
        before, label = kept // sample.shape[1], kept % sample.shape[1]
        likely = self.posteriors[before] * sample.T[label]
        self.posteriors = likely / likely.sum(1, keepdim=True)

    def conditional_entropies(self, samples: torch.Tensor) -> torch.Tensor:
        """Entropy of each sample's label when the batch's labels are known, in nats.

        Args:
            samples: class probabilities by each model `(t, s, c)`.

        Returns:
            `(s,)`, the mean over configurations, in float64 on the CPU.
        """
        models, number, classes = samples.shape
        posteriors = self.posteriors.to(samples)
        weights = self.weights.to(samples)
        # 0 log 0 is 0 here and NaN in floats.
        samples = samples.clamp_min(torch.finfo(samples.dtype).tiny)
        found = []
        for part in samples.split(max(1, BLOCK // (len(weights) * classes)), dim=1):
            predicted = posteriors @ part.reshape(models, -1)
            found.append(-(weights @ predicted.log().mul_(predicted)))
        return torch.cat(found).reshape(number, classes).sum(1).cpu().double()
