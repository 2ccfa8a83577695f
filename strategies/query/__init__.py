"""Query strategies: which samples the learner would learn most from."""

from querist.strategies.query.cluster_margin import ClusterMargin
from querist.strategies.query.command import QueryCommand
from querist.strategies.query.committee_variance import CommitteeVariance
from querist.strategies.query.consensus_kl import ConsensusKL
from querist.strategies.query.cover_then_cluster import CoverThenCluster
from querist.strategies.query.dbal import DBAL
from querist.strategies.query.density_weighted import DensityWeighted
from querist.strategies.query.distance_to_boundary import DistanceToBoundary
from querist.strategies.query.entropy import Entropy
from querist.strategies.query.falcun import Falcun
from querist.strategies.query.k_means import KMeans
from querist.strategies.query.k_medoids import KMedoids
from querist.strategies.query.least_confidence import LeastConfidence
from querist.strategies.query.margin import Margin
from querist.strategies.query.max_herding import MaxHerding
from querist.strategies.query.prob_cover import ProbCover
from querist.strategies.query.python_callable import QueryCallable
from querist.strategies.query.random import Random
from querist.strategies.query.typiclust import TypiClust
from querist.strategies.query.uncertainty_herding import UncertaintyHerding
from querist.strategies.query.vote_entropy import VoteEntropy

__all__ = [
    "DBAL",
    "ClusterMargin",
    "CommitteeVariance",
    "ConsensusKL",
    "CoverThenCluster",
    "DensityWeighted",
    "DistanceToBoundary",
    "Entropy",
    "Falcun",
    "KMeans",
    "KMedoids",
    "LeastConfidence",
    "Margin",
    "MaxHerding",
    "ProbCover",
    "QueryCallable",
    "QueryCommand",
    "Random",
    "TypiClust",
    "UncertaintyHerding",
    "VoteEntropy",
]
