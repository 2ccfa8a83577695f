"""Short sentences about three topics, and a small BERT that learns to tell them apart."""
