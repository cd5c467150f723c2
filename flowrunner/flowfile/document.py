"""The tree of a flow file as it stands in the text: every key and value with its place.

`Leaf`, `Branch` and `Items` are what YAML calls scalar, mapping and sequence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from flowrunner.errors import Mark, Problem, Severity

_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?!\w|:\w)", re.ASCII)  # not of ${secret:…}
_QUOTED = re.compile(r"""(?<!\w)(['"])((?:\\.|(?!\1).)*)\1(?!\w)""", re.DOTALL)
MOST_QUOTED = 60
"""Characters of a key or a value that a problem quotes: a file that is none of ours (a link may lead to any) must not
be told whole."""
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
    straight: bool = False
    """Written on one line, character for character as its text: without escapes and folds."""
    raw: str = ""
    """The text as it is written, where a ``${…}`` in it was replaced."""
    substituted: str = ""
    """The name of the variable that the whole leaf came from, or ""."""
    secrets: tuple[str, ...] = ()
    """The values in it that must not be shown."""
    broken: bool = False
    """A problem is reported already; whatever else could be said of the value would be noise."""

    @property
    def variables(self) -> str:
        """The names that a ``${…}`` in it was replaced by, for people: ``A``, ``A and B``; "" without any."""
        return self.substituted or " and ".join(dict.fromkeys(_VARIABLE.findall(self.raw)))

    def mark_at(self, offset: int) -> Mark:
        """The place of a character of the text; of the whole value where that cannot be told."""
        return self.mark if self.raw else self.mark_in_raw(offset)

    def mark_in_raw(self, offset: int) -> Mark:
        """The place of a character of the text as it is written."""
        if not self.straight:
            return self.mark
        return Mark(self.mark.line, self.mark.column + offset + len(self.style))


@dataclass(slots=True)
class Branch:
    """A mapping: its values, and the place of each key."""

    mark: Mark
    items: dict[str, Tree] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    broken: bool = False
    """Keys of it could not be read, so that nothing can be called missing."""


@dataclass(slots=True)
class Items:
    """A sequence."""

    mark: Mark
    items: list[Tree] = field(default_factory=list)
    broken: bool = False


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
    values: int = 0
    """How many values were read."""
    veiled: dict[Mark, tuple[str, ...]] = field(default_factory=dict)
    """Where values stand that hold a secret: what is said there must not quote it, not even in parts."""

    def report(
        self,
        mark: Mark,
        code: str,
        message: str,
        *,
        path: str = "",
        hint: str = "",
        severity: Severity = "error",
        quotes: bool = True,
    ) -> None:
        """Add a problem. ``quotes``: the text may hold (parts of) the value that stands at ``mark``. Of each thing that
        the message quotes, `MOST_QUOTED` characters are told."""
        if quotes and any(_quotes(f"{message} {hint}", secret) for secret in self.veiled.get(mark, ())):
            message, hint = "the value here is refused; what it is stays secret", ""
        self.problems.append(
            Problem(
                file=self.file,
                line=mark.line,
                column=mark.column,
                path=path,
                code=code,
                message=_QUOTED.sub(lambda found: f"{found[1]}{_short(found[2])}{found[1]}", message),
                hint=hint,
                severity=severity,
            )
        )


def _quotes(text: str, secret: str) -> bool:
    """Whether ``text`` holds any four characters of ``secret`` in a row, as they are or as a repr spells them."""
    for spelled in (secret, repr(secret)[1:-1]):
        size = min(4, len(spelled))
        if any(spelled[start : start + size] in text for start in range(len(spelled) - size + 1)):
            return True
    return False


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
    """Where the value at ``path`` begins; for a map, a list or nothing, where its key stands. What is not there is at
    the deepest part that is."""
    tree: Tree = root
    mark = root.mark
    for step in path:
        below = find(tree, [step])
        if below is tree:
            break
        bare = not isinstance(below, Leaf) or not (below.text or below.style)
        mark = tree.keys[str(step)] if isinstance(tree, Branch) and bare else below.mark
        tree = below
    return mark


def spell(path: list[Step]) -> str:
    """A path as a person says it: ``scale.fields.soc_percent.factor``, ``merge.from[1]``; `nodes.` is left out."""
    steps = path[1:] if path[:1] == ["nodes"] and len(path) > 1 else path
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else ("." if text else "") + _short(step)
    return text


def _short(text: str) -> str:
    return text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 1]}…"
