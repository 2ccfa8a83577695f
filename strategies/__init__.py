"""The strategies that come with Querist; importing this registers them all."""

from querist.strategies import gates, label, metrology, query, schedules, stopping

__all__ = ["gates", "label", "metrology", "query", "schedules", "stopping"]
