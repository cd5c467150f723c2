"""An exchange to practise on: the first user's interface with its oddities, or a good exchange, with faults on demand.

The server needs the package ``websockets`` and is imported from ``flowrunner.exchange.simulator.server``.
"""

from flowrunner.exchange.simulator.core import Exchange
from flowrunner.exchange.simulator.faults import BadFault, Fault, Faults
from flowrunner.exchange.simulator.model import AcceptedOrder, Answer, Character, Side, Telemetry, Trade
from flowrunner.exchange.simulator.signing import signed, verified

__all__ = [
    "AcceptedOrder",
    "Answer",
    "BadFault",
    "Character",
    "Exchange",
    "Fault",
    "Faults",
    "Side",
    "Telemetry",
    "Trade",
    "signed",
    "verified",
]
