"""An experiment written for another active-learning loop, run unchanged."""
