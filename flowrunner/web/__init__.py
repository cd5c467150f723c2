"""HTTP: the flows' routes, health, metrics and the API."""

from flowrunner.web.server import Server, check_exposure, listen

__all__ = ["Server", "check_exposure", "listen"]
