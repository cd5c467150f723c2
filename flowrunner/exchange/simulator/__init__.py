"""An exchange to practise on: the first user's interface with its oddities, or a good exchange, with faults on demand.

Its server is imported from ``flowrunner.exchange.simulator.server``, a client of it that needs no socket from
``flowrunner.exchange.simulator.direct``.
"""

from flowrunner.exchange.signing import signed, verified
from flowrunner.exchange.simulator.core import Exchange
from flowrunner.exchange.simulator.faults import BadFault, Fault, Faults
from flowrunner.exchange.simulator.model import AcceptedOrder, Answer, Character, Side, Telemetry, Trade

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
