"""The tree of a flow file as it stands in the text: every key and value with its place.

`Leaf`, `Branch` and `Items` are what YAML calls scalar, mapping and sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from flowrunner.errors import Mark, Problem, Severity

Step = str | int
"""A key of a mapping or a position in a sequence."""


@dataclass(slots=True)
class Leaf:
    """A scalar. ``value`` is by YAML 1.2's core rules; ``substituted`` when the whole leaf was one ``${…}``."""

    value: str | int | float | bool | None
    text: str
    mark: Mark
    style: str = ""
    """"" for plain text, else the quote or block sign that it is written with."""
    substituted: str = ""
    """The name of the variable that the whole leaf came from, or ""."""
    secret: bool = False

    def mark_at(self, offset: int) -> Mark:
        """The place of a character inside a one-line scalar."""
        if self.style in ("|", ">") or self.substituted:
            return self.mark
        return Mark(self.mark.line, self.mark.column + offset + len(self.style))


@dataclass(slots=True)
class Branch:
    """A mapping: its values, and the place of each key."""

    mark: Mark
    items: dict[str, Tree] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)


@dataclass(slots=True)
class Items:
    """A sequence."""

    mark: Mark
    items: list[Tree] = field(default_factory=list)


Tree: TypeAlias = Leaf | Branch | Items


@dataclass(slots=True)
class Document:
    """One file: its tree and what was found wrong with it so far."""

    file: str
    text: str
    root: Branch
    problems: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    """Values that came from ``${secret:…}``: masked in every output."""

    def report(
        self,
        mark: Mark,
        code: str,
        message: str,
        *,
        path: str = "",
        hint: str = "",
        severity: Severity = "error",
    ) -> None:
        self.problems.append(
            Problem(
                file=self.file,
                line=mark.line,
                column=mark.column,
                path=path,
                code=code,
                message=message,
                hint=hint,
                severity=severity,
            )
        )


def find(tree: Tree, path: list[Step]) -> Tree:
    """The deepest part of ``tree`` that ``path`` reaches."""
    for step in path:
        if isinstance(tree, Branch) and step in tree.items:
            tree = tree.items[str(step)]
        elif isinstance(tree, Items) and isinstance(step, int) and step < len(tree.items):
            tree = tree.items[step]
        else:
            break
    return tree


def mark_of(root: Branch, path: list[Step]) -> Mark:
    """Where the value at ``path`` begins; for a mapping, where its key stands."""
    parent = find(root, path[:-1]) if path else root
    tree = find(parent, path[-1:]) if path else root
    if not isinstance(tree, Leaf) and isinstance(parent, Branch) and path and path[-1] in parent.keys:
        return parent.keys[str(path[-1])]
    return tree.mark


def spell(path: list[Step]) -> str:
    """A path as a person says it: ``scale.fields.soc_percent.factor``, ``merge.from[1]``; `nodes.` is left out."""
    steps = path[1:] if path[:1] == ["nodes"] and len(path) > 1 else path
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
    return text
