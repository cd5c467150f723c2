"""The one seam of time: flow time live, scaled or virtual, and the event loop that jumps."""

from flowrunner.clock.clocks import Clock, LiveClock, ScaledClock, Timer
from flowrunner.clock.loop import VirtualDeadlock, VirtualLoop
from flowrunner.clock.virtual import VirtualClock, run_virtual

__all__ = [
    "Clock",
    "LiveClock",
    "ScaledClock",
    "Timer",
    "VirtualClock",
    "VirtualDeadlock",
    "VirtualLoop",
    "run_virtual",
]
