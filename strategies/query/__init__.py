"""Query strategies: which samples the learner would learn most from."""

from querist.strategies.query.bait import Bait
from querist.strategies.query.bald import Bald
from querist.strategies.query.clue import Clue
from querist.strategies.query.command import QueryCommand
from querist.strategies.query.committee_variance import CommitteeVariance
from querist.strategies.query.consensus_kl import ConsensusKL
from querist.strategies.query.discriminative import Discriminative
from querist.strategies.query.distance_to_boundary import DistanceToBoundary
from querist.strategies.query.entropy import Entropy
from querist.strategies.query.galaxy import Galaxy
from querist.strategies.query.generated import Generated
from querist.strategies.query.greedy_both import GreedyBoth
from querist.strategies.query.greedy_input import GreedyInput
from querist.strategies.query.greedy_output import GreedyOutput
from querist.strategies.query.lcmd import Lcmd
from querist.strategies.query.least_confidence import LeastConfidence
from querist.strategies.query.margin import Margin
from querist.strategies.query.predictive_variance import PredictiveVariance
from querist.strategies.query.python_callable import QueryCallable
from querist.strategies.query.random import Random
from querist.strategies.query.vote_entropy import VoteEntropy

__all__ = [
    "Bait",
    "Bald",
    "Clue",
    "CommitteeVariance",
    "ConsensusKL",
    "Discriminative",
    "DistanceToBoundary",
    "Entropy",
    "Galaxy",
    "Generated",
    "GreedyBoth",
    "GreedyInput",
    "GreedyOutput",
    "Lcmd",
    "LeastConfidence",
    "Margin",
    "PredictiveVariance",
    "QueryCallable",
    "QueryCommand",
    "Random",
    "VoteEntropy",
]
