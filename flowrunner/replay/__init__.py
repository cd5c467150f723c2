"""A flow over recorded inputs in virtual time, with a simulated battery in the loop: what it would have earned."""

from flowrunner.replay.figures import Result
from flowrunner.replay.report import report
from flowrunner.replay.setup import Setup
from flowrunner.replay.world import replay

__all__ = ["Result", "Setup", "replay", "report"]
