"""The steps of retraining, each a function of an open lineage."""
