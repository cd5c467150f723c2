"""The list of what happened: alarms, orders, entries, reloads, log-ins and the kill switch, merged by time."""

from flowrunner.web.events.api import endpoints

__all__ = ["endpoints"]
