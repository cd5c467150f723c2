"""What the flow page needs of a flow beside its counters: where the boxes stand, and the text of its file."""

from flowrunner.web.graph.api import endpoints
from flowrunner.web.graph.drawing import Drawings, Drawn

__all__ = ["Drawings", "Drawn", "endpoints"]
