"""A training loop of one's own: two parts of a model, each with its optimizer, learn in turn."""
