"""Where the steps of parallel learners are carried out: existing engines, each behind one door.

An engine lends a host to one learner at a time. What a host is, `querist.runs.host` says.
"""

from querist.engines.engine import Engine, cores_of_each, open_engine

__all__ = ["Engine", "cores_of_each", "open_engine"]
