"""What of a node and of the head of a file may be shown: everything but its secrets."""

from __future__ import annotations

from typing import Any

from flowrunner.flowfile import Branch, Items, Leaf, Tree, find
from flowrunner.graph.build import Part
from flowrunner.logs import MASK, Secrets


def shown(part: Part, secrets: Secrets) -> dict[str, Any]:
    """The node's data without its secrets: whole where an option is one, and wherever one stands in a text."""
    data: dict[str, Any] = masked(part.data, find(part.document.root, part.path), secrets)
    for ref in part.refs:
        if ref.kind == "secret" and ref.text:
            at: Any = data
            for step in ref.path[2:-1]:
                at = at[step]
            at[ref.path[-1]] = MASK
    return data


def masked(value: Any, tree: Tree | None, secrets: Secrets) -> Any:
    """``value`` as it may be shown; ``tree`` knows which leaves hold secrets, however short these are."""
    if isinstance(value, dict):
        below = tree.items if isinstance(tree, Branch) else {}
        return {secrets.mask(key): masked(one, below.get(key), secrets) for key, one in value.items()}
    if isinstance(value, list):
        items = tree.items if isinstance(tree, Items) else [None] * len(value)
        return [masked(one, item, secrets) for one, item in zip(value, items, strict=True)]
    if isinstance(tree, Leaf) and tree.secrets:
        if not isinstance(value, str) or value in tree.secrets:
            return MASK
        for one in sorted(tree.secrets, key=len, reverse=True):
            value = value.replace(one, MASK)
    return secrets.mask(value) if isinstance(value, str) else value
