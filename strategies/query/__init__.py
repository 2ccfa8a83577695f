"""Query strategies: which samples the learner would learn most from."""

from querist.strategies.query.badge import Badge
from querist.strategies.query.bait import Bait
from querist.strategies.query.bald import Bald
from querist.strategies.query.batch_bald import BatchBald
from querist.strategies.query.binary_minimum import BinaryMinimum
from querist.strategies.query.class_balanced import ClassBalanced
from querist.strategies.query.clue import Clue
from querist.strategies.query.cluster_margin import ClusterMargin
from querist.strategies.query.command import QueryCommand
from querist.strategies.query.committee_variance import CommitteeVariance
from querist.strategies.query.consensus_kl import ConsensusKL
from querist.strategies.query.cost_aware import CostAware
from querist.strategies.query.cover_then_cluster import CoverThenCluster
from querist.strategies.query.dbal import DBAL
from querist.strategies.query.density_weighted import DensityWeighted
from querist.strategies.query.disagreement import Disagreement
from querist.strategies.query.discriminative import Discriminative
from querist.strategies.query.distance_to_boundary import DistanceToBoundary
from querist.strategies.query.entropy import Entropy
from querist.strategies.query.epig import Epig
from querist.strategies.query.expected_error_reduction import ExpectedErrorReduction
from querist.strategies.query.expected_gradient_length import ExpectedGradientLength
from querist.strategies.query.falcun import Falcun
from querist.strategies.query.galaxy import Galaxy
from querist.strategies.query.generated import Generated
from querist.strategies.query.greedy_both import GreedyBoth
from querist.strategies.query.greedy_input import GreedyInput
from querist.strategies.query.greedy_output import GreedyOutput
from querist.strategies.query.k_center import KCenter
from querist.strategies.query.k_means import KMeans
from querist.strategies.query.k_means_plus_plus import KMeansPlusPlus
from querist.strategies.query.k_medoids import KMedoids
from querist.strategies.query.label_cardinality import LabelCardinality
from querist.strategies.query.lcmd import Lcmd
from querist.strategies.query.least_confidence import LeastConfidence
from querist.strategies.query.margin import Margin
from querist.strategies.query.max_herding import MaxHerding
from querist.strategies.query.mean_std import MeanStd
from querist.strategies.query.mixture import Mixture
from querist.strategies.query.neighbours_of_labeled import NeighboursOfLabeled
from querist.strategies.query.predictive_variance import PredictiveVariance
from querist.strategies.query.prob_cover import ProbCover
from querist.strategies.query.python_callable import QueryCallable
from querist.strategies.query.random import Random
from querist.strategies.query.sequence import InSequence
from querist.strategies.query.subsample import Subsample
from querist.strategies.query.switch import Switch
from querist.strategies.query.typiclust import TypiClust
from querist.strategies.query.uncertainty_herding import UncertaintyHerding
from querist.strategies.query.variation_ratios import VariationRatios
from querist.strategies.query.vote_entropy import VoteEntropy

__all__ = [
    "DBAL",
    "Badge",
    "Bait",
    "Bald",
    "BatchBald",
    "BinaryMinimum",
    "ClassBalanced",
    "Clue",
    "ClusterMargin",
    "CommitteeVariance",
    "ConsensusKL",
    "CostAware",
    "CoverThenCluster",
    "DensityWeighted",
    "Disagreement",
    "Discriminative",
    "DistanceToBoundary",
    "Entropy",
    "Epig",
    "ExpectedErrorReduction",
    "ExpectedGradientLength",
    "Falcun",
    "Galaxy",
    "Generated",
    "GreedyBoth",
    "GreedyInput",
    "GreedyOutput",
    "InSequence",
    "KCenter",
    "KMeans",
    "KMeansPlusPlus",
    "KMedoids",
    "LabelCardinality",
    "Lcmd",
    "LeastConfidence",
    "Margin",
    "MaxHerding",
    "MeanStd",
    "Mixture",
    "NeighboursOfLabeled",
    "PredictiveVariance",
    "ProbCover",
    "QueryCallable",
    "QueryCommand",
    "Random",
    "Subsample",
    "Switch",
    "TypiClust",
    "UncertaintyHerding",
    "VariationRatios",
    "VoteEntropy",
]
