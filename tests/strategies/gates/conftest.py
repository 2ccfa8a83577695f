from tests.shared.runs import component

__all__ = ["component"]
