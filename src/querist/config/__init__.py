"""The configuration of an experiment: one frozen model, the same from YAML, Python and the UI."""

from querist.config.component import Component, QueryComponent
from querist.config.data import DataConfig, InitialConfig, SplitConfig
from querist.config.driver import DriverConfig
from querist.config.experiment import Experiment
from querist.config.load import apply_overrides, load_experiment, read_yaml
from querist.config.strategies import ScheduleConfig, StrategiesConfig
from querist.config.tracking import TrackingConfig
from querist.config.training import EarlyStopping, TrainingConfig

__all__ = [
    "Component",
    "DataConfig",
    "DriverConfig",
    "EarlyStopping",
    "Experiment",
    "InitialConfig",
    "QueryComponent",
    "ScheduleConfig",
    "SplitConfig",
    "StrategiesConfig",
    "TrackingConfig",
    "TrainingConfig",
    "apply_overrides",
    "load_experiment",
    "read_yaml",
]
