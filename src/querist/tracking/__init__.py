"""Tracking: a run writes events to a spool, a process of its own delivers them to MLflow.

The run imports `spool` and `delivery` only, which are light. `deliver` runs in the other process,
and `mlflow_store` is the one file that imports mlflow.
"""
