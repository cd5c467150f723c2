"""YAML text → Document: YAML 1.2 core scalars, marks kept, duplicates refused.

PyYAML composes the nodes (libyaml underneath); its resolver speaks YAML 1.1, where ``on`` is true and ``1:30``
is ninety, so plain scalars are resolved here by the YAML 1.2 core schema (yaml.org/spec/1.2.2, §10.3.2).
"""

from __future__ import annotations

import re
from typing import Protocol, cast

import yaml

from flowrunner.errors import Mark
from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, spell
from flowrunner.flowfile.syntax import HARD_SPACE, HARD_SPACE_HINT, hard_space, report_characters, report_syntax

MAX_NODES = 200_000
"""A file that unfolds to more values than this (aliases of aliases) is refused."""
MAX_DEPTH = 60

_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class _Loader(yaml.CSafeLoader):
    """Composes without resolving: every untagged scalar stays text. Counts the nodes while it does: libyaml's composer
    would recurse, and take memory, until the process dies."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own class attribute)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = self._depth = 0

    def descend_resolver(self, parent: yaml.Node | None, index: yaml.Node | int | None) -> None:
        """Called by the composer before each node but an alias; the resolver itself has no need of it here."""
        self._count += 1
        self._depth += 1
        if self._depth > MAX_DEPTH + 1 or self._count > MAX_NODES:
            near = index if isinstance(index, yaml.Node) else parent
            raise _TooMuch(_mark(near.start_mark if near is not None else None), self._count <= MAX_NODES)

    def ascend_resolver(self) -> None:
        self._depth -= 1


class _TooMuch(Exception):
    def __init__(self, mark: Mark, deep: bool) -> None:
        self.mark, self.deep = mark, deep


def scalar(text: str) -> str | int | float | bool | None:
    """A plain scalar's value by the YAML 1.2 core schema. ValueError for .inf, .nan and integers beyond 64 bits."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _NOT_FINITE.match(text):
        raise ValueError(f"{text} is not a finite number")
    if _INT.match(text):
        number = (int(text, 0) if text[:2] in ("0x", "0o") else int(text)) if len(text) <= 70 else 1 << 64
        if not -(1 << 63) <= number < 1 << 64:
            raise ValueError(f"{text[:40]}{'…' if len(text) > 40 else ''} does not fit in 64 bits")
        return number
    if _FLOAT.match(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"{text} is too large for a number")
        return value
    return text


def load(text: str, file: str, *, kind: str = "a flow file", begin: str = "'flow: name' and 'nodes:'") -> Document:
    """Parse one file. Whatever is wrong is in ``problems`` of the result; the tree holds what could be read. ``kind``
    and ``begin``: what sort of file it is, and what stands in every one of them."""
    document = Document(file, text, Branch(Mark()))
    text = text.removeprefix("\ufeff")
    try:
        root = yaml.compose(text, _Loader)
    except _TooMuch as error:
        if error.deep:
            document.report(error.mark, "syntax", "nested too deep", hint="is a bracket not closed?")
        else:
            message = f"the file has more than {MAX_NODES} values: it is read down to here"
            document.report(error.mark, "syntax", message, hint="divide it into several flows")
        return document
    except yaml.MarkedYAMLError as error:
        report_syntax(document, error)
        return document
    except (yaml.YAMLError, UnicodeEncodeError):
        report_characters(document)
        return document
    if not isinstance(root, yaml.MappingNode):
        document.report(
            Mark() if root is None else _mark(root.start_mark),
            "syntax",
            "the file is empty" if root is None else f"{kind} is a map of keys, this is not",
            hint=f"begin with {begin}",
        )
        return document
    builder = _Builder(document)
    tree = builder.build(root, [])
    document.values = builder.count
    if isinstance(tree, Branch) and not builder.shifted:
        document.root = tree
    return document


class _Place(Protocol):
    """Where libyaml saw something, counted from 0."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


def _mark(mark: _Place | None) -> Mark:
    return Mark() if mark is None else Mark(mark.line + 1, mark.column + 1)


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.full = False
        self.shifted = False  # a line stands elsewhere than it seems to: nothing can be said of the structure
        self.open: set[int] = set()  # nodes being built: an alias to one of them is a cycle

    def build(self, node: yaml.Node, path: list[Step]) -> Tree:
        mark = _mark(node.start_mark)
        self.count += 1
        if self.count > MAX_NODES or len(path) > MAX_DEPTH or id(node) in self.open:
            if id(node) in self.open:
                self.document.report(mark, "syntax", "this alias stands inside of what it repeats", path=spell(path))
            elif not self.full:
                self.full = True
                deep = len(path) > MAX_DEPTH
                self.document.report(
                    mark, "syntax", "nested too deep" if deep else "the file unfolds to too much here",
                    path="" if deep else spell(path), hint="" if deep else "aliases (*name) that hold aliases multiply",
                )  # fmt: skip
            return Leaf(None, "", mark, broken=True)
        tagged = node.tag not in _TAGS
        if tagged:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.document.report(
                mark, "tag", f"the tag {tag!r} is not part of the flow format", path=spell(path),
                hint="remove it; quote the value if it is text",
            )  # fmt: skip
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.branch(node, mark, path)
            if isinstance(node, yaml.SequenceNode):
                items = [self.build(child, [*path, index]) for index, child in enumerate(node.value)]
                if node.flow_style:
                    self.cut_in_list(items, path)
                return Items(mark, items)
            leaf = self.leaf(cast(yaml.ScalarNode, node), mark, path)
            leaf.broken = leaf.broken or tagged
            return leaf
        finally:
            self.open.discard(id(node))

    def leaf(self, node: yaml.ScalarNode, mark: Mark, path: list[Step]) -> Leaf:
        start, end, style = node.start_mark, node.end_mark, node.style or ""
        straight = start.line == end.line and end.column - start.column == len(node.value) + 2 * len(style)
        if style:
            return Leaf(node.value, node.value, mark, style, straight)
        if at := hard_space(node.value):
            self.document.report(
                Mark(mark.line, mark.column + at - 1), "syntax", HARD_SPACE, path=spell(path), hint=HARD_SPACE_HINT
            )
            return Leaf(node.value, node.value, mark, broken=True)
        try:
            return Leaf(scalar(node.value), node.value, mark, straight=straight)
        except ValueError as error:
            self.document.report(mark, "number", str(error), path=spell(path))
            return Leaf(0, node.value, mark, broken=True)

    def branch(self, node: yaml.MappingNode, mark: Mark, path: list[Step]) -> Branch:
        branch = Branch(mark)
        merged: list[Tree] = []
        cut = _Cut(None, path)
        for key_node, value_node in node.value:
            key_mark = _mark(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.report(
                    key_mark, "syntax", "a key must be text", path=spell(path),
                    hint="a value that begins with ${…} inside {} or [] must be quoted",
                )  # fmt: skip
                branch.broken = True
                continue
            key = key_node.value
            if key == "<<" and not key_node.style:
                merged.append(self.build(value_node, path))
                continue
            if node.flow_style and _is_bare(key_node, value_node) and cut.take(key):
                continue
            self.report_cut(cut)
            if key in branch.keys:
                first = branch.keys[key]
                self.document.report(
                    key_mark, "duplicate-key", f"{key!r} is here twice", path=spell([*path, key]),
                    hint=f"the first is at line {first.line}, column {first.column}",
                )  # fmt: skip
                continue
            if key.startswith("\xa0") and not key_node.style:
                self.document.report(key_mark, "syntax", HARD_SPACE, hint=HARD_SPACE_HINT)
                self.shifted = True
                continue
            branch.keys[key] = key_mark
            value = branch.items[key] = self.build(value_node, [*path, key])
            cut = _Cut(value, [*path, key])
        self.report_cut(cut)
        self.merge(branch, merged, path)
        return branch

    def merge(self, branch: Branch, merged: list[Tree], path: list[Step]) -> None:
        """Merge keys: own keys win, then earlier maps (yaml.org/type/merge.html)."""
        for tree in merged:
            for source in tree.items if isinstance(tree, Items) else [tree]:
                if not isinstance(source, Branch):
                    branch.broken = True
                    if not (isinstance(source, Leaf) and source.broken):
                        self.document.report(
                            source.mark, "syntax", "'<<' takes a map or a list of maps", path=spell(path),
                            hint="write <<: *name, where &name marks a map",
                        )  # fmt: skip
                    continue
                branch.broken = branch.broken or source.broken
                for key, value in source.items.items():
                    if key not in branch.items:
                        branch.items[key] = value
                        branch.keys[key] = source.keys[key]

    def cut_in_list(self, items: list[Tree], path: list[Step]) -> None:
        cut = _Cut(None, path)
        for index, item in enumerate(items):
            if isinstance(item, Leaf) and not item.style and cut.take(item.text):
                item.broken = True
                continue
            self.report_cut(cut)
            cut = _Cut(item, [*path, index])
        self.report_cut(cut)

    def report_cut(self, cut: _Cut) -> None:
        """``{when: max(a, b) > 3}`` reads as two keys: say what happened instead of 'unknown option'."""
        if not cut.parts or cut.leaf is None:
            return
        cut.leaf.broken = True
        text = ", ".join([cut.leaf.text, *cut.parts])
        quoted = f"'{text}'" if '"' in text else f'"{text}"'
        self.document.report(
            cut.leaf.mark, "unquoted-expression", "this is cut at its comma", path=spell(cut.path),
            hint=f"inside {{}} and [] an expression with a comma must be quoted: {quoted}",
        )  # fmt: skip


class _Cut:
    """A plain text inside ``{}`` or ``[]`` with an open parenthesis, and what stands behind its commas."""

    def __init__(self, value: Tree | None, path: list[Step]) -> None:
        self.leaf = value if isinstance(value, Leaf) and not value.style else None
        self.path = path
        self.parts: list[str] = []
        self.depth = _depth(self.leaf.text) if self.leaf else 0

    def take(self, text: str) -> bool:
        """Whether ``text`` is the next part of it."""
        if self.depth <= 0:
            return False
        self.parts.append(text)
        self.depth += _depth(text)
        return True


def _depth(text: str) -> int:
    """Parentheses that it opens and does not close."""
    return text.count("(") - text.count(")")


def _is_bare(key: yaml.ScalarNode, value: yaml.Node) -> bool:
    """A key without quotes, ``:`` and value."""
    return not key.style and isinstance(value, yaml.ScalarNode) and value.value == "" and not value.style
