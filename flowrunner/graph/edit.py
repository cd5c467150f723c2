"""A small edit of a file that is running already: only the nodes whose text has changed are read again.

That is what most reloads are: a limit, a factor, a condition. The outcome is the very one of the whole check, which
the tests hold it to; wherever that is not certain beforehand (other nodes, other wires, other fields that come out,
anything wrong or noted, ``${…}``, anchors) there is none, and the whole check is made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping

import msgspec

from flowrunner.errors import Problem
from flowrunner.flowfile import load
from flowrunner.flowfile.loader import MAX_NODES
from flowrunner.graph.build import Head, Part, read_parts
from flowrunner.graph.model import FlowHead, Graph, GraphNode, Places, Seen
from flowrunner.graph.names import check_refs, emitted, key_refs
from flowrunner.graph.shown import shown
from flowrunner.logs import MASK, Secrets
from flowrunner.node import RetryPolicy
from flowrunner.registry import BrokenType, Registry
from flowrunner.schema.types import KIND
from flowrunner.schema.walk import Schema

NOT_HERE = re.compile(r"[\t\r&]|\$\{|^[^ \n#]", re.MULTILINE)
"""What the text of a node can be about that is not only its own; the last: it is of the file (``dashboard:``)."""
WIRES = frozenset({"wire", "watched", "verdict", "origin"})
"""Kinds of options that name other nodes."""


class Edited(msgspec.Struct):
    """The outcome: as of a whole check without errors."""

    graph: Graph
    problems: list[Problem]


def after_edit(
    texts: Mapping[str, str], environment: Mapping[str, str], registry: Registry, before: Graph
) -> Edited | None:
    """What the whole check would give, where only options of nodes differ from ``before``, which runs. None: ask it.

    Nodes that have not changed are the very same objects; see `Graph.settle`.
    """
    seen = before.seen
    if seen is None or list(seen.texts) != list(texts) or dict(seen.environment) != dict(environment):
        return None
    if not _same_types(seen, registry) or any("${secret:" in text for text in texts.values()):
        return None
    changed = [file for file, text in texts.items() if seen.texts[file] != text]
    if not changed:
        return Edited(before, seen.problems)
    if len(changed) > 1:
        return None
    (file,) = changed
    head = next((one for one in before.flows.values() if one.file == file), None)
    places = seen.places.get(file)
    if head is None or places is None:
        return None
    return _Edit(before, seen, head, places, seen.texts[file], texts[file]).outcome(texts, registry)


def _same_types(seen: Seen, registry: Registry) -> bool:
    try:
        return all(registry.get(kind.name) is kind for kind in seen.kinds)
    except (KeyError, BrokenType):
        return False


class _Edit:
    """One file's. Lines are counted from 1."""

    def __init__(self, before: Graph, seen: Seen, head: FlowHead, places: Places, old: str, new: str) -> None:
        self.before, self.seen, self.head, self.places = before, seen, head, places
        self.old, self.new = old, new
        self.mask = Secrets(before.secrets)

    def outcome(self, texts: Mapping[str, str], registry: Registry) -> Edited | None:
        span = self._span()
        if span is None:
            return None
        first, last, begin, end, grown = span  # nodes by their numbers; the text of them in the old file
        ids, lines = self.places.ids, self.places.lines
        was, block = self.old[begin:end], self.new[begin : end + grown]
        if NOT_HERE.search(was) or NOT_HERE.search(block) or MASK in block or not _plain_lines(block):
            return None
        line = lines[first]
        document = load("nodes:" + "\n" * (line - 1) + block, self.head.file)
        if 2 * (self.places.values + document.values) >= MAX_NODES:
            return None
        some = self.before.nodes.get(f"{self.head.name}/{ids[first]}")
        if some is None or document.problems:
            return None
        whole = Head(document, self.head.name, timezone=some.zone.key, vars=dict(some.vars), market=some.market)
        parts = read_parts(whole, registry)
        if [part.id for part in parts] != ids[first : last + 1] or document.problems:
            return None
        if any(part.mark.column != self.places.column for part in parts):
            return None
        nodes = dict(self.before.nodes)
        digest = hashlib.sha256(self.new.encode()).hexdigest()[:16]
        for part in parts:
            node = self._renewed(part, self.before.nodes.get(part.address), digest)
            if node is None or document.problems:
                return None
            nodes[part.address] = node
        if not self._accepted(nodes, parts) or document.problems:
            return None
        more = block.count("\n") - was.count("\n")
        return self._graph(texts, nodes, digest, [part.mark.line for part in parts], first, last, more)

    # ---- where ----------------------------------------------------------------------------------------------------

    def _span(self) -> tuple[int, int, int, int, int] | None:
        """The first and the last node that the edit touches, the old text of these, and by how much that has grown."""
        old, new, lines = self.old, self.new, self.places.lines
        same = _common(old, new)
        most = min(len(old), len(new)) - same
        rest = _common_end(old, new, most)
        begin = old.rfind("\n", 0, same) + 1
        end = old.find("\n", len(old) - rest)
        end = len(old) if end < 0 else end
        first_line = old.count("\n", 0, begin) + 1
        last_line = first_line + old.count("\n", begin, end)
        if first_line < lines[0] or last_line >= self.places.end:
            return None
        first, last = bisect_right(lines, first_line) - 1, bisect_right(lines, last_line) - 1
        if first and first_line == lines[first]:
            first -= 1  # what comes before its name may belong to the one above
        begin = _back(old, begin, first_line - lines[first])
        until = lines[last + 1] if last + 1 < len(lines) else self.places.end
        end = _forward(old, end, until - last_line)
        return first, last, begin, end, len(new) - len(old)

    # ---- what -----------------------------------------------------------------------------------------------------

    def _renewed(self, part: Part, was: GraphNode | None, digest: str) -> GraphNode | None:
        """The node as it is now, where nothing around it is other than it was."""
        if was is None or part.node is None or part.envelope is None or part.kind is not was.kind or not part.enabled:
            return None
        around, secret = _about_others(part.kind.form.schema), _of_kind(part.kind.form.schema, {"secret"})
        if any(part.data.get(name) != was.shown.get(name) for name in ("from", *around)):
            return None
        if any(name in part.data or name in was.shown for name in secret):
            return None
        if part.kind.cls.manual or list(part.claims) != list(was.node.claims()):
            return None
        check_refs(part, was.incoming)
        try:
            shapes = emitted(part, was.incoming)
        except Exception:  # whatever it is, the whole check meets it too, and says it
            return None
        if shapes != was.shapes or list(shapes) != list(was.shapes):
            return None
        key_refs(part, shapes)
        return dataclasses.replace(
            was, node=part.node, key=part.envelope.key, queue=part.envelope.queue or part.node.default_queue,
            retry=part.envelope.retry or RetryPolicy(), shown=shown(part, self.mask), digest=part.digest,
            line=part.mark.line, flow_digest=digest, variables=part.variables, shapes=shapes,
        )  # fmt: skip

    def _accepted(self, nodes: Mapping[str, GraphNode], parts: list[Part]) -> bool:
        """Whether no reader refuses its source, and no tile says anything of a node that has changed."""
        changed = {part.address for part in parts}
        for head in self.before.flows.values():
            if any(output and output.address in changed for tile in head.dashboard or () for output in tile.shows):
                return False
        after = self.before.outgoing
        wires = [wire for one in changed for wire in nodes[one].wires]
        readers = {reader for one in changed for ones in after.get(one, {}).values() for reader, _ in ones}
        wires += [wire for one in readers for wire in nodes[one].wires if wire.source in changed]
        try:
            return all(nodes[one.reader].node.refuses(nodes[one.source].node, one.port) is None for one in wires)
        except Exception:  # the same
            return False

    # ---- the whole ------------------------------------------------------------------------------------------------

    def _graph(
        self, texts: Mapping[str, str], nodes: dict[str, GraphNode], digest: str, at: list[int], first: int, last: int,
        more: int,
    ) -> Edited | None:  # fmt: skip
        before, seen, places, head = self.before, self.seen, self.places, self.head
        border = places.lines[last + 1] if last + 1 < len(places.lines) else places.end
        problems: list[Problem] = []
        for one in seen.problems:
            if one.file == head.file and one.line >= places.lines[first]:
                if one.line < border:
                    return None
                one = msgspec.structs.replace(one, line=one.line + more)
            problems.append(one)
        text = self._shown_text(first, border, more)
        if text is None:
            return None
        tiles = head.dashboard
        if more and tiles:
            tiles = tuple(
                msgspec.structs.replace(one, line=one.line + more) if one.line >= border else one for one in tiles
            )
        lines = [*places.lines[:first], *at, *(line + more for line in places.lines[last + 1 :])]
        later = zip(places.ids[last + 1 :], lines[last + 1 :], strict=True) if more else ()
        moved = {address: line for id, line in later if (address := f"{head.name}/{id}") in nodes}  # noqa: A001
        now = Places(places.ids, lines, places.column, places.end + more, places.values)
        graph = Graph(
            {**before.flows, head.name: msgspec.structs.replace(head, digest=digest, text=text, dashboard=tiles)},
            nodes, before.disabled, before.secrets,
            seen=Seen(dict(texts), seen.environment, seen.kinds, {**seen.places, head.file: now}, problems),
            moved=moved,
        )  # fmt: skip
        graph.outgoing = before.outgoing
        return Edited(graph, problems)

    def _shown_text(self, first: int, border: int, more: int) -> str | None:
        """The file as it may be shown: the lines of these nodes anew, the others as they were."""
        hidden = self.head.text
        if hidden == self.old:
            return self.mask.mask(self.new)
        if hidden.count("\n") != self.old.count("\n"):
            return None
        was, now = hidden.split("\n"), self.new.split("\n")
        begin, end = self.places.lines[first] - 1, border - 1
        changed = self.mask.mask("\n".join(now[begin : end + more]))
        return "\n".join([*was[:begin], changed, *was[end:]])


def _plain_lines(block: str) -> bool:
    """Whether its lines are those that YAML counts."""
    return block.isascii() or not any(one in block for one in "\x85\u2028\u2029\ufeff")


def _about_others(schema: Schema) -> frozenset[str]:
    return _of_kind(schema, WIRES)


def _of_kind(schema: Schema, kinds: frozenset[str] | set[str]) -> frozenset[str]:
    """The options that have a value of one of these kinds in them."""
    return frozenset(name for name, one in schema["properties"].items() if kinds & set(_kinds(one)))


def _kinds(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in (KIND, f"{KIND}-keys"):
                yield str(value)
            else:
                yield from _kinds(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from _kinds(one)


def _common(one: str, other: str) -> int:
    """How many characters both begin with. By halves: comparing is fast, going through is not."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(one: str, other: str, most: int) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _back(text: str, at: int, lines: int) -> int:
    """The begin of the line so many lines above the one that begins at ``at``."""
    for _ in range(lines):
        at = text.rfind("\n", 0, at - 1) + 1
    return at


def _forward(text: str, at: int, lines: int) -> int:
    """The begin of the line so many lines below the one that ends at ``at``; the end of the text."""
    for _ in range(lines):
        at = text.find("\n", at) + 1
        if at == 0:
            return len(text)
    return at
