"""The script that MLflow copies beside a logged model and runs to load it: no pickle."""

from querist.tracking.mlflow_store import serve_model

serve_model()
