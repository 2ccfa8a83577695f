"""Three learners of one simulator, each with its own schedule."""
