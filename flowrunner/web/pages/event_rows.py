"""An event as the page says it: words, icon, tone and links; the template only lays them out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import NamedTuple

from flowrunner.message import JSON, Instant
from flowrunner.units import parse_instant
from flowrunner.web.events.event import Kind
from flowrunner.web.events.shown import EventShown, node_page
from flowrunner.web.events.steps import Step
from flowrunner.web.pages import formats
from flowrunner.web.pages.event_times import Translate, Zone, heading

ICONS: Mapping[Kind, str] = {
    "alarm": "bell", "acknowledgement": "check", "order": "out", "refusal": "shield", "entry": "hand", "reload": "git",
    "trading": "stop", "letter": "mail-x", "login": "user", "account": "key",
}  # fmt: skip
SEVERE = {"info": "", "warning": "warn", "critical": "alarm"}
"""Severity → tone. Grey is for what needs nobody."""
STATES = {
    "paper": "line", "accepted": "line", "filled": "ok", "partly-filled": "ok", "rejected": "warn", "unknown": "alarm",
    "stopped": "warn", "resumed": "ok", "applied": "ok", "refused": "warn", "failed": "warn",
}  # fmt: skip
COURSES = {"going-on": "warn", "over": "ok", "quiet": "line", "unknown": "line"}
SAID_BY_TITLE = ("logged in", "logged out")
"""Sentences of the audit that add nothing."""
CHANGES = ("added", "removed", "changed", "rewired")
MOST_NAMES = 12
"""Nodes of a reload that are named; the others are counted."""


class Chip(NamedTuple):
    """A word with a tone."""

    tone: str
    word: str
    icon: str = ""


class Part(NamedTuple):
    """A piece of the line below, with a link where it has one."""

    text: str
    href: str = ""
    mono: bool = False


class StepLine(NamedTuple):
    """A step of an order: ``at`` is ISO, ``time`` for people."""

    at: str
    time: str
    chip: Chip
    text: str


class Row(NamedTuple):
    """One line of the list."""

    id: str
    kind: Kind
    icon: str
    tone: str
    title: str
    text: str
    parts: list[Part]
    chips: list[Chip]
    at: str
    time: str
    alarm: int | None
    """To acknowledge; None where there is nothing to."""
    order: str
    """The address of the order's story, or ""."""
    steps: list[StepLine]
    changes: list[tuple[str, list[str], int]]
    """Of a reload: what became of which nodes, and how many are not named."""


class Day(NamedTuple):
    """The lines of one local day."""

    title: str
    iso: str
    rows: list[Row]


def days(
    events: Sequence[EventShown], steps: Mapping[str, Sequence[Step]], *, now: Instant, zone: Zone, lang: str,
    t: Translate,
) -> list[Day]:  # fmt: skip
    """The list, by local days, each order where its newest step of this page is."""
    teller = _Teller(zone, lang, t)
    timed = [(parse_instant(one["at"]), one) for one in _folded(events)]
    found = []
    for day, of_day in groupby(timed, key=lambda one: zone.day(one[0])):
        rows = [teller.row(at, event, steps.get(event["order"] or "", ())) for at, event in of_day]
        found.append(Day(heading(day, zone.day(now), lang, t), day.isoformat(), rows))
    return found


def _folded(events: Iterable[EventShown]) -> Iterator[EventShown]:
    """Without the older steps of an order: these stand with its newest one."""
    seen = set[str]()
    for event in events:
        order = event["order"] if event["kind"] == "order" else None
        if order is None or order not in seen:
            yield event
        if order is not None:
            seen.add(order)


class _Teller:
    """Says events in one language and zone."""

    def __init__(self, zone: Zone, lang: str, t: Translate) -> None:
        self.zone, self.lang, self.t = zone, lang, t

    def row(self, at: Instant, event: EventShown, steps: Sequence[Step]) -> Row:
        key, day = event["title"]["key"], self.zone.day(at)
        icon, tone = ICONS[event["kind"]], SEVERE[event["severity"]]
        if key.startswith("order."):
            icon, tone = ("up", "di") if ".SELL" in key else ("down", "ch")  # the state's chip says what is grave
        elif event["kind"] == "alarm" and tone:
            icon = "warn"
        elif key == "trading.resumed":
            icon = "play"
        return Row(
            id=event["id"], kind=event["kind"], icon=icon, tone=tone,
            title=self.t(f"events.title.{key}", **self._values(event["title"]["values"], day)),
            text=self._text(event), parts=self._parts(event, day), chips=self._chips(event), at=event["at"],
            time=self.zone.seconds(at), alarm=event["alarm"] if event["state"] == "open" else None,
            order=event["link"] or "" if event["order"] else "",
            steps=[self._step(one, day) for one in steps] if event["kind"] == "order" else [],
            changes=self._changes(event["detail"]) if event["kind"] == "reload" else [],
        )  # fmt: skip

    def _values(self, values: Mapping[str, JSON], day: date) -> dict[str, str]:
        told: dict[str, str] = {}
        for name, value in values.items():
            if name in ("delivery_start", "delivery_end"):
                told[name] = self.zone.minutes(parse_instant(value), day)
                day = self.zone.day(parse_instant(value))  # its end is told from its start
            elif name == "price_eur_mwh" and value is not None:
                told[name] = formats.number(value, self.lang, 2)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                told[name] = formats.number(value, self.lang)
            else:
                told[name] = "" if value is None else str(value)
        return told

    def _text(self, event: EventShown) -> str:
        """What stands behind the title. Of a person's deed what it did, in the reader's numbers; the sentence of the
        audit where nothing more is kept."""
        detail, text = event["detail"], event["text"]
        if event["kind"] == "entry" and isinstance(detail.get("values"), dict):
            return self._entered(detail["values"], detail.get("before"))
        if event["kind"] == "acknowledgement":
            return text.removeprefix("acknowledged: ")
        if event["kind"] == "reload":
            told = any(detail.get(kind) for kind in CHANGES)
            return "" if told and event["state"] == "applied" else text.removeprefix(event["state"]).removeprefix(": ")
        return "" if text in SAID_BY_TITLE else text

    def _entered(self, values: Mapping[str, JSON], before: JSON) -> str:
        was = before if isinstance(before, dict) else {}
        told = []
        for name, value in values.items():
            new = self.t("events.taken-back") if value is None else self._figure(value)
            told.append(f"{name}: {self._figure(was[name])} → {new}" if was.get(name) is not None else f"{name}: {new}")
        return " · ".join(told)

    def _figure(self, value: JSON) -> str:
        is_figure = isinstance(value, int | float) and not isinstance(value, bool)
        return formats.number(value, self.lang) if is_figure else str(value)

    def _parts(self, event: EventShown, day: date) -> list[Part]:
        t, values = self.t, event["title"]["values"]
        found: list[Part] = []
        flow, node = event["flow"] or "", event["node"]
        if node:
            runs = event["line"] is not None
            found.append(Part(f"{flow}/{node}" if flow else node, node_page(flow, node) if runs else "", mono=True))
        elif flow:
            found.append(Part(flow, event["link"] or "", mono=True))
        if event["file"] and event["line"]:
            found.append(Part(f"{event['file']}:{event['line']}", mono=True))
        if event["kind"] == "letter" and values.get("code"):
            found.append(Part(t("events.code", code=values["code"])))
        if event["kind"] == "login" and event["who"]:
            found.append(Part(event["who"]))
        elif event["kind"] != "alarm" and event["who"] not in ("", event["origin"]):
            found.append(Part(t("events.by", who=event["who"])))
        if event["kind"] == "entry" and event["detail"].get("reason"):
            found.append(Part(t("events.reason", reason=event["detail"]["reason"])))
        if event["origin"]:
            found.append(Part(t("events.from-origin", origin=event["origin"])))
        if event["until"]:
            found.append(Part(t("events.until", time=self.zone.minutes(parse_instant(event["until"]), day))))
        if event["count"] > 1 and event["since"]:
            since = self.zone.minutes(parse_instant(event["since"]), day)
            found.append(Part(t("events.times", n=formats.number(event["count"], self.lang, 0), time=since)))
        return found

    def _chips(self, event: EventShown) -> list[Chip]:
        t, state = self.t, event["state"]
        if event["kind"] == "alarm":
            course = event["course"] or "unknown"
            word = t("events.unknown-course" if course == "unknown" else f"events.{course}")
            going = Chip(COURSES[course], word, "check" if course == "over" else "clock")
            if state == "open":
                return [Chip(SEVERE[event["severity"]] or "line", t("events.open"), "bell"), going]
            return [Chip("", t("events.acknowledged-by", who=event["who"]), "check"), going]
        if event["kind"] == "refusal":
            return [Chip("line", state)]
        return [self._state(state)] if state else []

    def _state(self, state: str) -> Chip:
        return Chip(STATES.get(state, ""), self.t(f"events.state-{state}"))

    def _step(self, step: Step, day: date) -> StepLine:
        there = self.zone.day(step.at)
        time = self.zone.seconds(step.at)
        time = time if there == day else f"{there:%d.%m.} {time}"
        return StepLine(str(step.at), time, self._state(step.state), step.reason)

    def _changes(self, detail: Mapping[str, JSON]) -> list[tuple[str, list[str], int]]:
        found = []
        for kind in CHANGES:
            names = detail.get(kind)
            if isinstance(names, list) and names:
                told = [str(one) for one in names[:MOST_NAMES]]
                found.append((self.t(f"events.change-{kind}"), told, len(names) - len(told)))
        return found
