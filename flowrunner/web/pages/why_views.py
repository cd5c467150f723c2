"""The newest decisions as a card: each clause with its figures, what the guard said, and what has grown old since."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flowrunner.fields import is_number
from flowrunner.message import JSON
from flowrunner.units import parse_instant
from flowrunner.web.dashboard.tiles import Tile
from flowrunner.web.dashboard.why import WhyShown
from flowrunner.web.dashboard.wording import TILES, of_field
from flowrunner.web.pages import formats
from flowrunner.web.pages.engine_words import Said, refusal, trouble
from flowrunner.web.pages.order_rows import figure
from flowrunner.web.pages.tile_values import DECIMALS, UNITS
from flowrunner.web.pages.tile_views import Teller, View

LOOKS = {True: ("y", "check", "dashboard.clause-yes"), False: ("n", "x", "dashboard.clause-no"),
         None: ("w", "warn", "dashboard.clause-unknown")}  # fmt: skip
SIGNS = {">=": "≥", "<=": "≤", "!=": "≠", "==": "="}
OUTCOMES = {"wish": ("ok", "dashboard.why-holds"), "no wish": ("", "dashboard.why-holds-not"),
            "cannot be judged": ("warn", "dashboard.why-unknown")}  # fmt: skip
GUARDS = {"passed": True, "repeat": True, "blocked": None}
_NAME = re.compile(r"^[a-z_][a-z0-9_]*")


class Clause(NamedTuple):
    """One line of the card. ``plain``: the text is as it stands in the file; ``engine``: the figures are the engine's
    own words."""

    tone: str
    icon: str
    word: str
    text: str
    figures: str
    plain: bool = False
    engine: bool = False


class Part(NamedTuple):
    """What one node decided."""

    kind: str
    title: str
    chip: tuple[str, str]
    clauses: list[Clause]
    text: Said
    who: str
    time: str
    href: str
    wish: tuple[str, str, str] | None
    """Tone, icon and words of what it wants."""
    side: str


def why(teller: Teller, tile: Tile, decisions: Sequence[WhyShown], tiles: Sequence[Tile]) -> View:
    """``tiles``: those of the page; fields are called as these are, and what of them is stale is said."""
    t, told = teller.t, _Told(teller, tiles)
    parts = [told.part(one) for one in decisions if one["decided"]]
    rules = [part for part in parts if part.kind == "rule"]
    old = list(told.old(decisions))
    wishes = [part for part in rules if part.wish and not old]
    shown = wishes or rules or parts  # what a guard said belongs to what it was asked
    if old and shown:
        shown = [shown[0]._replace(clauses=[*shown[0].clauses, *old]), *shown[1:]]
    title = teller.title(tile)
    if title in TILES["why"] and rules:
        title = t(f"dashboard.why-{wishes[0].side.lower()}") if wishes else t("dashboard.why-nothing")
    names = ", ".join(address.partition("/")[2] for address in tile["from"])
    view = teller.base(tile, parts=shown, wish=wishes[0].wish if wishes else None,
                       cause=t("dashboard.why-none-how", node=names))  # fmt: skip
    view.title = title
    return view


class _Told:
    def __init__(self, teller: Teller, tiles: Sequence[Tile]) -> None:
        self.teller, self.t, self.lang = teller, teller.t, teller.lang
        self.tiles = {tile["field"]: tile for tile in reversed(tiles) if tile["field"]}

    def part(self, one: WhyShown) -> Part:
        detail, node = one["detail"], one["node"]
        kind = one["type"]
        if kind == "rule":
            clauses = [self._clause(clause) for clause in detail.get("clauses") or []]
            guard = detail.get("guard") or {}
            if one["outcome"] == "wish" and guard.get("decided"):
                clauses.append(self._guard(guard))
            tone, word = OUTCOMES.get(one["outcome"] or "", ("", "dashboard.why-unknown"))
            who, chip = self.t("dashboard.why-rule", node=node), (tone, self.t(word))
        elif kind == "risk-guard":
            clauses, chip = [self._guard(detail | {"outcome": one["outcome"]})], ("", "")
            who = self.t("dashboard.why-guard", node=node)
        else:
            clauses, chip = [self._verdict(one)], ("", "")
            who = self.t("dashboard.why-node", node=node)
        then = detail.get("then") or {}
        wish = self._wish(then) if kind == "rule" and one["outcome"] == "wish" else None
        if one["key"]:
            who = f"{who} · {one['key']}"
        text = Said(self._text(one) if kind in ("rule", "risk-guard") else "", engine=True)
        time = formats.clock(parse_instant(one["at"]), self.teller.zone, self.lang, seconds=True) if one["at"] else ""
        return Part(kind, who, chip, clauses, text, who, time, self.teller.link(node), wish,
                    str(then.get("side") or ""))  # fmt: skip

    def _text(self, one: WhyShown) -> str:
        """What a guard said against it, or what else holds a rule back."""
        guard = one["detail"] if one["type"] == "risk-guard" else one["detail"].get("guard") or {}
        outcome = guard.get("outcome") or one["outcome"]
        if one["type"] == "rule" and one["outcome"] != "wish":
            return one["reason"] if one["outcome"] == "no wish" else ""
        return str(guard.get("text") or "") if outcome == "blocked" else ""

    def old(self, decisions: Sequence[WhyShown]) -> Iterator[Clause]:
        """What the clauses looked at and what is stale or gone by now: by this nothing is decided any more."""
        names = [name for one in decisions for name in self._looked_at(one)]
        judged = [clause for one in decisions for clause in one["detail"].get("clauses") or []]
        said = {str(one["reason"]).split(" ")[0] for one in judged if one.get("reason")}
        for name in dict.fromkeys(names):
            tile = self.tiles.get(name)
            known = None if tile is None else self.teller.known(tile)
            if (
                tile is None
                or name in said
                or (known is not None and known["value"] is not None and not known["stale"])
            ):
                continue
            told = self.teller.reading(tile)
            tone, icon, _ = LOOKS[None]
            key = "dashboard.banner-stale" if told.state == "stale" else "dashboard.banner-none"
            yield Clause(tone, icon, told.source, self.t(key, title=self.teller.title(tile)).rstrip("."), told.age)

    def _looked_at(self, one: WhyShown) -> Iterator[str]:
        for clause in one["detail"].get("clauses") or []:
            found = _NAME.match(str(clause.get("text") or ""))
            if found:
                yield found[0]

    def _clause(self, clause: Mapping[str, Any]) -> Clause:
        tone, icon, word = LOOKS[clause.get("outcome")]
        text = str(clause.get("text") or "")
        name = _NAME.match(text)
        tile = self.tiles.get(name[0]) if name else None
        if clause.get("reason"):
            return self._unjudged(text, str(clause["reason"]), tile)
        unit = tile["unit"] if tile else None
        limit = clause.get("limit")
        limits = [self._figure(one, None) for one in limit] if isinstance(limit, list) else [self._figure(limit, None)]
        signs = [SIGNS.get(sign, sign) for sign in str(clause.get("op") or "").split()]
        figures = f"{self._figure(clause.get('value'), unit)} {' '.join(signs)} {' … '.join(limits)}"
        if tile is None:
            return Clause(tone, icon, self.t(word), text, figures, plain=True)
        return Clause(tone, icon, self.t(word), self.teller.title(tile), figures)

    def _unjudged(self, text: str, reason: str, tile: Tile | None) -> Clause:
        """Why a clause has no outcome, in the reader's words where the engine says it in known ones."""
        tone, icon, word = LOOKS[None]
        name, _, wrong = reason.partition(" is ")
        said = trouble(wrong, self.t) if _NAME.fullmatch(name) else None
        if said is None:
            return Clause(tone, icon, self.t(word), text, reason, plain=True, engine=True)
        if tile is None or name != tile["field"]:
            return Clause(tone, icon, self.t(word), self._name(name), said)
        age = self.teller.reading(tile).age if wrong != "missing" else ""
        return Clause(tone, icon, self.t(word), self.teller.title(tile), " · ".join(filter(None, (said, age))))

    def _name(self, field: str) -> str:
        """What a field is called here."""
        tile = self.tiles.get(field)
        return self.teller.title(tile) if tile else of_field(field)["de" if self.lang == "de" else "en"]

    def _figure(self, value: JSON, unit: str | None) -> str:
        if unit is None or not is_number(value):
            return figure(value, self.lang)
        return f"{formats.number(value, self.lang, DECIMALS.get(unit))} {UNITS.get(unit, unit)}"

    def _guard(self, said: Mapping[str, Any]) -> Clause:
        outcome = str(said.get("outcome") or "")
        tone, icon, word = LOOKS[GUARDS.get(outcome)]
        right = ""
        if is_number(said.get("quantity_mwh")) and outcome != "blocked":
            right = f"{formats.number(said['quantity_mwh'], self.lang, 1)} MWh"
        known = outcome if outcome in GUARDS else "blocked"
        right = right or refusal(str(said.get("reason") or ""), self.t)
        return Clause(tone, icon, self.t(word), self.t(f"dashboard.guard-{known}"), right)

    def _verdict(self, one: WhyShown) -> Clause:
        detail, outcome = one["detail"], one["outcome"] or "unknown"
        tone, icon, word = LOOKS[True if outcome == "clear" else None]
        name = str(detail.get("field"))
        key = f"dashboard.verdict-{outcome if outcome in ('above', 'below', 'clear') else 'unknown'}"
        text = f"{self._name(name)}: {self.t(key)}"
        if one["reason"]:
            said = trouble(one["reason"].removeprefix(f"{name}: "), self.t)
            return Clause(tone, icon, self.t(word), text, said or one["reason"], engine=said is None)
        value, limit = self._figure(detail.get("value"), detail.get("unit")), self._figure(detail.get("limit"), None)
        return Clause(tone, icon, self.t(word), text, f"{value} · {limit}")

    def _wish(self, then: Mapping[str, Any]) -> tuple[str, str, str]:
        sells = then.get("side") == "SELL"
        quantity, price = then.get("quantity_mwh"), then.get("limit_price_eur_mwh")
        told = f"{formats.number(quantity, self.lang, 1)} MWh" if is_number(quantity) else ""
        if is_number(price):
            told = self.t("dashboard.why-wish", quantity=told, price=formats.number(price, self.lang, 2))
        return ("di", "up", told) if sells else ("ch", "down", told)
