"""Flow files: YAML with marks, ``${…}``, and the typed head."""

from flowrunner.flowfile.cases import CASES_SUFFIX, Case, CasesFile, Environment, Expectation
from flowrunner.flowfile.cases import Step as CaseStep
from flowrunner.flowfile.dashboard import TILES, AnyTile
from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, find, mark_of, spell
from flowrunner.flowfile.flow import FlowFile, MarketHead, is_name, zone_of
from flowrunner.flowfile.loader import load
from flowrunner.flowfile.substitute import substitute

__all__ = [
    "CASES_SUFFIX",
    "TILES",
    "AnyTile",
    "Branch",
    "Case",
    "CaseStep",
    "CasesFile",
    "Document",
    "Environment",
    "Expectation",
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
