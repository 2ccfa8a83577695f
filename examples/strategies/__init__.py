"""Query strategies for every task, on handwritten digits."""
