"""``dashboard:`` of a flow file against the graph: every tile bound by its kind, every node and field in it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from flowrunner.errors import Mark, did_you_mean
from flowrunner.fields import Limits, outside
from flowrunner.flowfile import TILES, AnyTile, Branch, Document, Items, Leaf, Step, Tree, find, mark_of, spell
from flowrunner.flowfile.dashboard import ButtonTile, ChartTile, PowerTile, TableTile, ValueTile
from flowrunner.graph.build import Head, Part
from flowrunner.graph.model import PORTS_OF_ALL, Output, PlacedTile
from flowrunner.graph.names import Shapes
from flowrunner.graph.wiring import Flows, Parts, Wiring, resolve
from flowrunner.schema import Form, bind, decode, schema_of
from flowrunner.shape import ANYTHING, EITHER, Shape
from flowrunner.units import canonical_unit

FORMS = {name: Form(schema_of(kind)) for name, kind in TILES.items()}
WHY = ("rule", "risk-guard", "threshold")
"""Node types that can say why they decided as they did; own types that have ``why`` can too."""
PATH: list[Step] = ["dashboard", "tiles"]


def read_dashboard(head: Head, parts: Parts, flows: Flows, wiring: Wiring, shapes: Shapes) -> list[Read] | None:
    """The tiles of one file, the wrong ones left out and told. None where the file has no dashboard."""
    if "dashboard" not in head.document.root.items:
        return None
    tiles = find(head.document.root, PATH)
    reader = _Reader(head, parts, flows, wiring, shapes)
    found = [reader.tile(index, tree) for index, tree in enumerate(tiles.items if isinstance(tiles, Items) else ())]
    return [one for one in found if one is not None]


class Read(msgspec.Struct, frozen=True):
    """A good tile: its data as bound, and where it stands."""

    data: dict[str, Any]
    tree: Tree
    line: int
    shows: tuple[Output | None, ...]

    def placed(self, data: dict[str, Any]) -> PlacedTile:
        """``data``: as it may be shown."""
        return PlacedTile(_decoded(data), self.line, self.shows)


def _decoded(data: Mapping[str, Any]) -> AnyTile:
    kind: type[AnyTile] = TILES[data["tile"]]
    return decode(data, kind)


class _Reader:
    def __init__(self, head: Head, parts: Parts, flows: Flows, wiring: Wiring, shapes: Shapes) -> None:
        self.document: Document = head.document
        self.parts, self.flows, self.wiring, self.shapes = parts, flows, wiring, shapes
        self.who = Part(head.document, head.name, "", PATH, Mark())
        """What ``from`` is said of: nodes of the same flow need no flow's name."""

    def report(self, path: list[Step], code: str, message: str, hint: str = "", **more: Any) -> None:
        mark = mark_of(self.document.root, path)
        self.document.report(mark, code, message, path=spell(path), hint=hint, **more)

    def tile(self, index: int, tree: Tree) -> Read | None:
        path: list[Step] = [*PATH, index]
        if not isinstance(tree, Branch):
            if not tree.broken:
                known = isinstance(tree, Leaf) and tree.text in TILES
                hint = f"write {{tile: {tree.text if known and isinstance(tree, Leaf) else '…'}}}"
                self.report(path, "type", "a tile is a map of options", hint)
            return None
        name = self._kind(tree, path)
        before = len(self.document.problems)
        bound = None if name is None else bind(self.document, path, FORMS[name], f"{_a(name)} tile")
        if bound is None or bound.data is None:
            return None
        tile = _decoded(bound.data)
        shows = tuple(self._shown(text, place, tile) for text, place in _sources(tile, path))
        self._check(tile, path, shows)
        wrong = any(one.severity == "error" for one in self.document.problems[before:])
        if wrong or (shows and not any(shows)):
            return None
        return Read(bound.data, tree, tree.mark.line, shows)

    def _kind(self, tree: Branch, path: list[Step]) -> str | None:
        leaf = tree.items.get("tile")
        place: list[Step] = [*path, "tile"]
        if leaf is None:
            if not tree.broken:
                self.report(path, "missing-option", "'tile' is missing", f"write tile: and one of {', '.join(TILES)}")
        elif not isinstance(leaf, Leaf) or not isinstance(leaf.value, str):
            if not leaf.broken:
                self.report(place, "type", "a tile is named by a word", f"write one of {', '.join(TILES)}")
        elif not leaf.broken:
            if leaf.value in TILES:
                return leaf.value
            hint = did_you_mean(leaf.value, TILES) or f"tiles: {', '.join(TILES)}"
            self.report(place, "unknown-tile", f"unknown tile {leaf.value!r}", hint)
        return None

    # ---- nodes ------------------------------------------------------------------------------------------------

    def _shown(self, text: str, path: list[Step], tile: AnyTile) -> Output | None:
        """What a tile shows; None where it does not run (a note) or is wrong."""
        mark = mark_of(self.document.root, path)
        link = resolve(self.who, text, mark, path, True, self.parts, self.flows)
        if link is None:
            return None
        address, port = link.wire.source, link.wire.port
        part = self.parts[address]
        if address in self.wiring.disabled:
            left = "the tile is left out" if len(_sources(tile, path)) == 1 else "it is left out of the tile"
            why = self.wiring.disabled[address]
            self.report(path, "disabled-tile", f"{left}: {text!r} does not run ({why})", severity="note")
            return None
        if not self._fits(part, text, path, tile):
            return None
        ports = self.shapes.outgoing.get(address)
        ported = isinstance(tile, ValueTile | PowerTile | ChartTile | TableTile) or "." in text.rpartition("/")[2]
        if ported and ports is not None and port not in ports and port not in PORTS_OF_ALL:
            known = [*ports, *PORTS_OF_ALL]
            kind = part.kind.name if part.kind else "?"
            message = f"{part.id!r} has no port {port!r}" if port != "out" else f"{part.id!r} ({kind}) has no output"
            self.report(path, "unknown-port", message, did_you_mean(port, known) or f"ports: {', '.join(known)}")
            return None
        return Output(address, port)

    def _fits(self, part: Part, text: str, path: list[Step], tile: AnyTile) -> bool:
        """Whether a node is of the kind that a tile is for."""
        if part.node is None or part.kind is None:
            return True  # what is wrong with it is said already
        kind, wanted = part.kind.name, ""
        match tile.tile:
            case "form" | "button":
                fields = getattr(part.node.options, "fields", None)
                wanted = "" if part.kind.cls.manual and isinstance(fields, dict) else "a manual-in"
            case "orders":
                orders = kind == "exchange-out" and getattr(part.node.options, "send", "") == "orders"
                wanted = "" if orders else "an exchange-out with send: orders"
            case "alarms":
                wanted = "" if kind == "alarm-out" else "an alarm-out"
            case "why":
                able = kind in WHY or hasattr(part.kind.cls, "why")
                wanted = "" if able else "a rule, a risk-guard or a threshold"
        if not wanted:
            return True
        others = [one.id for one in self.parts.values() if one.flow == part.flow and self._is(one, tile)]
        hint = f"name one of {', '.join(others)}" if others else f"there is none in {part.flow}"
        also = " with send: telemetry" if kind == "exchange-out" else ""
        message = f"{_a(tile.tile)} tile needs {wanted}; {text!r} is {_a(kind)}{also}"
        self.report(path, "wrong-node", message, hint)
        return False

    def _is(self, part: Part, tile: AnyTile) -> bool:
        kind = part.kind.name if part.kind is not None else ""
        wanted = {"form": ("manual-in",), "button": ("manual-in",), "alarms": ("alarm-out",), "why": WHY}
        if tile.tile == "orders":
            return kind == "exchange-out" and part.data.get("send") == "orders"
        return kind in wanted.get(tile.tile, ())

    # ---- fields -----------------------------------------------------------------------------------------------

    def _check(self, tile: AnyTile, path: list[Step], shows: tuple[Output | None, ...]) -> None:
        if isinstance(tile, ValueTile | PowerTile):
            self._field(tile.field, tile.unit, shows[0], path, [*path, "field"])
            if tile.min is not None and tile.max is not None and tile.min >= tile.max:
                self.report([*path, "min"], "contradiction", f"min {tile.min:g} is not below max {tile.max:g}")
        elif isinstance(tile, ChartTile):
            for index, one in enumerate(tile.series):
                place: list[Step] = [*path, "series", index]
                self._field(one.field, one.unit, shows[index], place, [*place, "field"])
        elif isinstance(tile, TableTile):
            for index, name in enumerate(tile.fields):
                self._field(name, None, shows[0], path, [*path, "fields", index])
            shape = self._shape(shows[0])
            if not tile.fields and shape is not None and not shape.fields:
                self.report(path, "missing-option", "which fields there are is not known", "write fields: [name, …]")
        elif isinstance(tile, ButtonTile) and shows[0] is not None:
            self._values(tile, self.parts[shows[0].address], [*path, "values"])

    def _shape(self, shown: Output | None) -> Shape | None:
        """What leaves there; None where nothing can be said of it."""
        if shown is None or shown.address in self.shapes.guessed:
            return None
        if shown.port in PORTS_OF_ALL:
            return PORTS_OF_ALL[shown.port]
        return (self.shapes.outgoing.get(shown.address) or {}).get(shown.port, ANYTHING)

    def _field(self, name: str, unit: str | None, shown: Output | None, base: list[Step], path: list[Step]) -> None:
        shape = self._shape(shown)
        if shown is None or shape is None:
            return
        where = spell(["nodes", shown.address.partition("/")[2]])
        if name not in shape.fields:
            if not shape.open:
                listing = f"fields there: {', '.join(shape.fields)}" if shape.fields else ""
                hint = did_you_mean(name, shape.fields) or listing
                self.report(path, "unknown-field", f"{where!r} gives no field {name!r}", hint)
            return
        known = shape.units.get(name, "")
        if unit is not None and known and canonical_unit(unit) not in known.split(EITHER):
            message = f"{name!r} comes in {known} from {where!r}, not in {unit}"
            self.report([*base, "unit"], "units", message, "leave the unit out; a scale node converts")

    def _values(self, tile: ButtonTile, part: Part, path: list[Step]) -> None:
        fields: Mapping[str, Limits] = getattr(part.node.options, "fields", {}) if part.node is not None else {}
        if part.node is None:
            return
        for name, value in tile.values.items():
            limits = fields.get(name)
            if limits is None:
                hint = did_you_mean(name, fields) or f"fields there: {', '.join(fields)}"
                mark = find(self.document.root, path)
                place = mark.keys[name] if isinstance(mark, Branch) else mark.mark
                self.document.report(
                    place, "unknown-field", f"{part.id!r} takes no {name!r}", path=spell([*path, name]), hint=hint
                )
            elif wrong := outside(value, limits):
                self.report([*path, name], "range", f"{part.id!r} would refuse it: {wrong}")


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _sources(tile: AnyTile, path: list[Step]) -> list[tuple[str, list[Step]]]:
    """Every name of a node in a tile, and where it stands."""
    return list(_named(tile, path))


def _named(tile: AnyTile, path: list[Step]) -> Iterator[tuple[str, list[Step]]]:
    if isinstance(tile, ChartTile):
        for index, one in enumerate(tile.series):
            yield one.from_, [*path, "series", index, "from"]
        return
    given: str | list[str] | None = getattr(tile, "from_", None)
    if isinstance(given, list):
        yield from ((one, [*path, "from", index]) for index, one in enumerate(given))
    elif given is not None:
        yield given, [*path, "from"]
