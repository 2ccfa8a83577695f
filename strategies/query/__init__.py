"""Query strategies: which samples the learner would learn most from."""

from querist.strategies.query.badge import Badge
from querist.strategies.query.bald import Bald
from querist.strategies.query.command import QueryCommand
from querist.strategies.query.committee_variance import CommitteeVariance
from querist.strategies.query.consensus_kl import ConsensusKL
from querist.strategies.query.distance_to_boundary import DistanceToBoundary
from querist.strategies.query.entropy import Entropy
from querist.strategies.query.k_center import KCenter
from querist.strategies.query.k_means_plus_plus import KMeansPlusPlus
from querist.strategies.query.least_confidence import LeastConfidence
from querist.strategies.query.margin import Margin
from querist.strategies.query.python_callable import QueryCallable
from querist.strategies.query.random import Random
from querist.strategies.query.vote_entropy import VoteEntropy

__all__ = [
    "Badge",
    "Bald",
    "CommitteeVariance",
    "ConsensusKL",
    "DistanceToBoundary",
    "Entropy",
    "KCenter",
    "KMeansPlusPlus",
    "LeastConfidence",
    "Margin",
    "QueryCallable",
    "QueryCommand",
    "Random",
    "VoteEntropy",
]
