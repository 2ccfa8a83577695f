"""Active learning as a durable workflow on Prefect, tracked in MLflow."""

from __future__ import annotations

__version__ = "0.1.0"
