"""Flow files: YAML with marks, ``${…}``, and the typed head."""

from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, find, mark_of, spell
from flowrunner.flowfile.flow import FlowFile, MarketHead, is_name, zone_of
from flowrunner.flowfile.loader import load
from flowrunner.flowfile.substitute import substitute

__all__ = [
    "Branch",
    "Document",
    "FlowFile",
    "Items",
    "Leaf",
    "MarketHead",
    "Step",
    "Tree",
    "find",
    "is_name",
    "load",
    "mark_of",
    "spell",
    "substitute",
    "zone_of",
]
