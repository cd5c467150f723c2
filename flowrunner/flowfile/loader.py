"""YAML text → Document: YAML 1.2 core scalars, marks kept, duplicates refused.

PyYAML composes the nodes (libyaml underneath); its resolver speaks YAML 1.1, where ``on`` is true and ``1:30``
is ninety, so plain scalars are resolved here by the YAML 1.2 core schema (yaml.org/spec/1.2.2, §10.3.2).
"""

from __future__ import annotations

import re
from typing import cast

import yaml

from flowrunner.errors import Mark
from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, spell

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


class _Loader(yaml.CSafeLoader):
    """Composes without resolving: every untagged scalar stays text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own class attribute)


def scalar(text: str) -> str | int | float | bool | None:
    """A plain scalar's value by the YAML 1.2 core schema. ValueError for .inf, .nan and absurdly long numbers."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _NOT_FINITE.match(text):
        raise ValueError(f"{text} is not a finite number")
    if _INT.match(text):
        if len(text) > 40:
            raise ValueError("a number of more than 40 digits")
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.match(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"{text} is too large for a number")
        return value
    return text


def load(text: str, file: str) -> Document:
    """Parse one file. Whatever is wrong is in ``problems`` of the result; the tree holds what could be read."""
    document = Document(file, text, Branch(Mark()))
    try:
        root = yaml.compose(text.removeprefix("\ufeff"), _Loader)
    except yaml.MarkedYAMLError as error:
        _syntax_problem(document, error)
        return document
    except yaml.YAMLError as error:  # characters that YAML does not allow
        document.report(Mark(), "syntax", " ".join(str(error).split()))
        return document
    if not isinstance(root, yaml.MappingNode):
        document.report(
            Mark() if root is None else _mark(root.start_mark),
            "syntax",
            "the file is empty" if root is None else "a flow file is a map of keys, this is not",
            hint="begin with 'flow: name' and 'nodes:'",
        )
        return document
    tree = _Builder(document).build(root, [])
    if isinstance(tree, Branch):
        document.root = tree
    return document


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.open: set[int] = set()  # nodes being built: an alias to one of them is a cycle

    def build(self, node: yaml.Node, path: list[Step]) -> Tree:
        mark = _mark(node.start_mark)
        self.count += 1
        if self.count > MAX_NODES or len(path) > MAX_DEPTH or id(node) in self.open:
            if self.count <= MAX_NODES or self.count == MAX_NODES + 1:
                what = "an alias that contains itself" if id(node) in self.open else "nested too deep or too large"
                self.document.report(mark, "syntax", what, path=spell(path))
            return Leaf(None, "", mark)
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rsplit(":", 1)[1] not in (
            "str",
            "map",
            "seq",
        ):
            self.document.report(
                mark, "tag", f"the tag {node.tag.rsplit(':', 1)[-1]!r} is not part of the flow format", path=spell(path),
                hint="remove it; quote the value if it is text",
            )  # fmt: skip
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.branch(node, mark, path)
            if isinstance(node, yaml.SequenceNode):
                items = [self.build(child, [*path, index]) for index, child in enumerate(node.value)]
                return Items(mark, items)
            return self.leaf(cast(yaml.ScalarNode, node), mark, path)
        finally:
            self.open.discard(id(node))

    def leaf(self, node: yaml.ScalarNode, mark: Mark, path: list[Step]) -> Leaf:
        if node.style:
            return Leaf(node.value, node.value, mark, node.style)
        try:
            return Leaf(scalar(node.value), node.value, mark)
        except ValueError as error:
            self.document.report(mark, "number", str(error), path=spell(path))
            return Leaf(0, node.value, mark)

    def branch(self, node: yaml.MappingNode, mark: Mark, path: list[Step]) -> Branch:
        branch = Branch(mark)
        merged: list[Tree] = []
        for key_node, value_node in node.value:
            key_mark = _mark(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.report(
                    key_mark, "syntax", "a key must be text", path=spell(path),
                    hint="a value that begins with ${…} inside {} or [] must be quoted",
                )  # fmt: skip
                continue
            key = key_node.value
            if key == "<<" and not key_node.style:
                merged.append(self.build(value_node, path))
                continue
            if self.split_expression(node, key_node, value_node, path):
                continue
            if key in branch.keys:
                first = branch.keys[key]
                self.document.report(
                    key_mark, "duplicate-key", f"{key!r} is here twice", path=spell([*path, key]),
                    hint=f"the first is at line {first.line}, column {first.column}",
                )  # fmt: skip
                continue
            branch.keys[key] = key_mark
            branch.items[key] = self.build(value_node, [*path, key])
        self.merge(branch, merged, path)
        return branch

    def merge(self, branch: Branch, merged: list[Tree], path: list[Step]) -> None:
        """Merge keys: own keys win, then earlier maps (yaml.org/type/merge.html)."""
        for tree in merged:
            for source in tree.items if isinstance(tree, Items) else [tree]:
                if not isinstance(source, Branch):
                    self.document.report(source.mark, "syntax", "'<<' takes a map or a list of maps", path=spell(path))
                    continue
                for key, value in source.items.items():
                    if key not in branch.items:
                        branch.items[key] = value
                        branch.keys[key] = source.keys[key]

    def split_expression(
        self, node: yaml.MappingNode, key: yaml.ScalarNode, value: yaml.Node, path: list[Step]
    ) -> bool:
        """``{when: max(a, b) > 3}`` reads as two keys: say what happened instead of 'unknown option'."""
        whole = isinstance(value, yaml.ScalarNode) and value.value == "" and not value.style
        if not (node.flow_style and whole and not key.style and key.value.count(")") > key.value.count("(")):
            return False
        self.document.report(
            _mark(key.start_mark), "unquoted-expression",
            f"{key.value!r} looks like the rest of an expression that was cut at its comma", path=spell(path),
            hint="inside {} and [] an expression with a comma must be quoted",
        )  # fmt: skip
        return True


def _syntax_problem(document: Document, error: yaml.MarkedYAMLError) -> None:
    """libyaml stops at the first mistake; say what people meant where it is one of the usual ones."""
    at = error.problem_mark or error.context_mark
    mark = Mark(at.line + 1, at.column + 1) if at else Mark()
    lines = document.text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    before = line[: mark.column - 1]
    message, hint = f"{error.problem or error}", ""
    if "\t" in line[: mark.column] and not line[: mark.column].replace("\t", "").strip():
        column = line.index("\t") + 1
        document.report(
            Mark(mark.line, column),
            "tab",
            "a tab is used for indentation",
            hint="YAML indents with spaces only",
        )
        return
    substitution = re.search(r"[{,\[][^'\"#]*\$\{[^'\"]*", line)
    if substitution is not None and ("expected" in message or "mapping" in message):
        column = line.index("${", substitution.start()) + 1
        document.report(
            Mark(mark.line, column), "unquoted-substitution", "a ${…} inside {} or [] is not quoted",
            hint=f"write \"{_whole_substitution(line, column - 1)}\"",
        )  # fmt: skip
        return
    if "mapping values are not allowed" in message:
        message, hint = "a ':' where none can be", "check the indentation, or quote the text that holds ': '"
    elif "could not find expected ':'" in message:
        message, hint = "a key without ':'", "write 'key: value'; is a line above not closed or not indented?"
    elif "cannot start any token" in message:
        message, hint = (
            f"{line[mark.column - 1 : mark.column]!r} cannot begin a value",
            "put the text in quotes",
        )
    elif "did not find expected key" in message or "block mapping" in message:
        message, hint = "this line does not fit the indentation above it", "align it with its neighbours"
    elif "did not find expected ',' or" in message:
        message, hint = "a '{' or '[' is not closed, or a comma is missing", _context(error)
    elif "unexpected end of stream" in message or "found unexpected" in message:
        hint = "a quote is not closed" if before.count('"') % 2 or "quoted" in str(error.context) else ""
    elif "undefined alias" in message:
        hint = "an anchor is written '&name' before its first '*name'"
    document.report(mark, "syntax", message, hint=hint)


def _context(error: yaml.MarkedYAMLError) -> str:
    at = error.context_mark
    return f"it begins at line {at.line + 1}, column {at.column + 1}" if at else ""


def _whole_substitution(line: str, start: int) -> str:
    end = line.find("}", start)
    return line[start : end + 1] if end > 0 else "${NAME}"
