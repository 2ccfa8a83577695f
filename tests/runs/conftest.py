from tests.shared.killed import lab, own_process
from tests.shared.runs import component, drive, experiment, new_run

__all__ = ["component", "drive", "experiment", "lab", "new_run", "own_process"]
