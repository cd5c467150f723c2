"""The live stream: one hub looks at the counters while somebody reads, and all readers share what it found."""

from flowrunner.web.live.frame import Watch
from flowrunner.web.live.hub import Hub

__all__ = ["Hub", "Watch"]
