from tests.shared.runs import component, drive, experiment, new_run

__all__ = ["component", "drive", "experiment", "new_run"]
