"""What can be known to be wrong with a file before it is served."""

from __future__ import annotations

from querist.config.comparison import Comparison
from querist.config.experiment import Experiment
from querist.config.parallel import ParallelExperiment
from querist.config.retraining import Retraining
from querist.deployments.offers import Offer


def check_offer(offer: Offer) -> None:
    """Refuse unknown components and options, and what a served flow may not do.

    Raises:
        ConfigurationError: the first thing that is wrong.
    """
    from querist.flows.served import (
        as_served,
        comparison_as_served,
        parallel_as_served,
        retraining_as_served,
    )
    from querist.retraining.pull import check_retraining
    from querist.runs.open import check_components

    settings = offer.settings
    if isinstance(settings, Retraining):
        check_retraining(retraining_as_served(settings))
        if settings.collect is not None:
            check_components(settings.collect.experiment)
    elif isinstance(settings, ParallelExperiment):
        parallel_as_served(settings)
        for learner in settings.learners:
            check_components(settings.experiment(learner.name, "parent"))
    elif isinstance(settings, Comparison):
        comparison_as_served(settings)
        for variant in settings.variants:
            check_components(settings.experiment(variant, settings.seeds[0]))
    elif isinstance(settings, Experiment):
        check_components(as_served(settings))
