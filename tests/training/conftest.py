from tests.shared.learners import job, learner

__all__ = ["job", "learner"]
