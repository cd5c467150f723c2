"""The simulated world: a battery, a broker with a sensor, and an exchange that a flow meets in place of real ones."""

from flowrunner.simulate.broker import Elsewhere
from flowrunner.simulate.inward import turn_inward
from flowrunner.simulate.opening import Opening, opening
from flowrunner.simulate.wall import wall_in
from flowrunner.simulate.world import Places, World, in_url

__all__ = ["Elsewhere", "Opening", "Places", "World", "in_url", "opening", "turn_inward", "wall_in"]
