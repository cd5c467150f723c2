"""HTTP: the flows' routes, health, metrics and the API."""

from flowrunner.web.exposure import check_exposure, exposed, is_loopback
from flowrunner.web.server import Server, listen

__all__ = ["Server", "check_exposure", "exposed", "is_loopback", "listen"]
