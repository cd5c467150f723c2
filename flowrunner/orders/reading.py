"""What the record of an intent says: whether it may trade, and what of it the journal keeps. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from flowrunner.errors import Reject
from flowrunner.fields import is_number
from flowrunner.market import Market, Slot
from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.orders import limits
from flowrunner.orders.order import INTENT_FIELDS, Intent, Refusal
from flowrunner.units import Duration, seconds_text


def read_intent(message: Message, market: Market, now: Instant) -> Intent:
    """The message as an intent for the slot that an order made ``now`` would get. Reject when it is none."""
    record = message.payload
    if not isinstance(record, dict):
        raise Reject("not-an-intent", "an intent is a record with side and quantity_mwh")
    side, quantity, price = (record.get(name) for name in INTENT_FIELDS[:3])
    if side not in ("BUY", "SELL"):
        raise Reject("not-an-intent", f"side is {side!r:.40}, not BUY or SELL")
    if not is_number(quantity) or quantity <= 0:
        raise Reject("not-an-intent", f"quantity_mwh is {quantity!r:.40}, not a number above 0")
    kind, force = record.get("order_type", "LIMIT"), record.get("time_in_force", "GFD")
    if kind not in ("LIMIT", "MARKET") or force not in ("GFD", "IOC", "FOK"):
        raise Reject("not-an-intent", f"order_type {kind!r:.40} or time_in_force {force!r:.40} is not known")
    if not is_number(price) and (price is not None or kind == "LIMIT"):
        raise Reject("not-an-intent", f"limit_price_eur_mwh is {price!r:.40}, not a number")
    rule = record.get("rule")
    if rule is not None and ((message.meta or {}).get("decision") or {}).get("rule") != rule:
        raise Reject("not-an-intent", "what the rule wished was kept by a node on the way; this is not its wish of now")
    return Intent(
        market=market.name,
        slot=market.delivery(now),
        side=side,
        quantity_mwh=float(quantity),
        limit_price_eur_mwh=None if price is None else float(price),
        order_type=kind,
        time_in_force=force,
        rule=rule if isinstance(rule, str) else message.source,
    )


class Verdict(NamedTuple):
    """Of which threshold (its address) a field must come to be its verdict, and how old what was judged may be."""

    field: str
    judge: str
    max_age: Duration | None


class Reading:
    """One record at the instant ``now``.

    ``trouble``: why a value must not be used now. ``verdicts``: by threshold. ``soc``: the field of the state of
    charge in %, where it counts.
    """

    def __init__(
        self,
        message: Message,
        now: Instant,
        trouble: Callable[[FieldInfo], str],
        verdicts: Mapping[str, Verdict],
        soc: str | None,
    ) -> None:
        self.message = message
        self.now = now
        self.record: dict[str, JSON] = message.payload
        self._trouble = trouble
        self._judged = tuple(verdicts.values())
        self._verdict_fields = frozenset(one.field for one in verdicts.values())
        self._soc = soc
        self._about = (message.meta or {}).get("decision") or {}
        uses = self._about.get("uses")
        others = [*INTENT_FIELDS, "rule", *self._verdict_fields]
        self.uses: list[str] = [*(uses if uses is not None else set(message.field_names()).difference(others))]
        if soc is not None and soc not in self.uses:
            self.uses.append(soc)
        self.verdicts = {name: self._verdict(one) for name, one in verdicts.items()}

    def _verdict(self, one: Verdict) -> tuple[JSON, str]:
        if one.field not in self.record:
            return None, "missing"
        info = self.message.info(one.field)
        if info.judge != one.judge:
            return None, f"not its own word, but one from {info.source}"
        if one.max_age is not None and info.age_ns(self.now) > one.max_age:
            return None, f"{seconds_text(info.age_ns(self.now))} s old; at most {one.max_age} is allowed"
        return self.record[one.field], self._trouble(info)

    @property
    def soc(self) -> float:
        """In %. Of meaning only where :meth:`refusals` finds nothing."""
        value = self.record.get(self._soc) if self._soc else None
        return float(value) if is_number(value) else 0.0

    @property
    def measured_at(self) -> Instant:
        """When the state of charge was true."""
        return self.message.info(self._soc).at if self._soc in self.record and self._soc is not None else self.now

    def refusals(
        self, slot: Slot, stop_while: Iterable[str], max_age: Mapping[str, Duration], *, by_hand: bool
    ) -> Iterator[Refusal]:
        """Why this record must not trade for ``slot``, the most telling reason first. ``max_age``: by field."""
        for name, verdict in limits.unclear_verdicts(stop_while, self.verdicts):
            yield Refusal("stopped", f"{name} is {verdict}")
        if not by_hand:
            typed = [name for name in self._inputs() if self.message.info(name).origin == "manual"]
            typed += (self.message.meta or {}).get("overridden", {})
            if typed or self.message.origin == "manual":
                values = dict.fromkeys(name for name in typed if name not in self._verdict_fields)
                yield Refusal("manual", f"a person typed {', '.join(values) or 'what the record holds'}")
        for name in self.uses:
            yield from self._of_field(name, slot, max_age.get(name))
            if max_age and name not in max_age and self.message.info(name).valid_until is None:
                yield Refusal("no-max-age", f"{name} is under no max_age, and nothing else says until when it is true")
        for name, age in max_age.items():
            if name not in self.uses and name in self.record:
                info = self.message.info(name)  # the price of another slot may have run out: nothing rests on it
                late = limits.stale(name, info, "" if info.valid_from else self._trouble(info), age, self.now)
                if late is not None:
                    yield late

    def good_until(self, gate: Instant, max_age: Mapping[str, Duration]) -> Instant:
        """Until when what was read may be rested on, if nothing newer comes: ``gate`` at the latest."""
        ends = [gate]
        for one in self._judged:
            if one.max_age is not None and one.field in self.record:
                info = self.message.info(one.field)
                ends.append(min(info.at, info.received_at) + one.max_age)
        for name in {*self.uses, *max_age, *self._verdict_fields}.intersection(self.record):
            info = self.message.info(name)
            if name in max_age:
                ends.append(min(info.at, info.received_at) + max_age[name])
            if info.valid_from is None and info.valid_until is not None:
                ends.append(info.valid_until)
        return min(ends)

    def _of_field(self, name: str, slot: Slot, max_age: Duration | None) -> Iterator[Refusal]:
        value, info = self.record.get(name), self.message.info(name)
        if value is None:
            yield Refusal("missing", f"{name} is missing")
            return
        if name == self._soc and not is_number(value):
            yield Refusal("bad", f"{name} is no number")
        elif name == self._soc and not 0 <= value <= 100:
            yield Refusal("bad", f"{name} is {value:g}, which is no state of charge in %")
        found = limits.stale(name, info, self._trouble(info), max_age, self.now), limits.wrong_slot(name, info, slot)
        yield from (one for one in found if one is not None)

    def reduced(self, quantity: float, limit_while: Mapping[str, limits.Reduction]) -> tuple[float, str]:
        """The quantity that may be ordered in MWh, and the threshold that made it smaller, or ""."""
        by = ""
        for name, _ in limits.unclear_verdicts(limit_while, self.verdicts):
            if limit_while[name].max_quantity_mwh < quantity:
                quantity, by = limit_while[name].max_quantity_mwh, name
        return quantity, by

    def _inputs(self) -> list[str]:
        """The fields that came in, without what the rule made."""
        return [name for name in self.record if name not in INTENT_FIELDS and name != "rule"]

    def decision(self) -> dict[str, JSON]:
        """What the journal keeps: inputs with age and source, the rule's clauses, the verdicts, where it came from."""
        inputs = {
            name: {"value": self.record[name]} | self.message.info(name).shown(self.now)
            for name in self._inputs()
            if name not in self._verdict_fields
        }
        return {
            "rule": self._about.get("rule", ""),
            "clauses": self._about.get("clauses", []),
            "inputs": inputs,
            "verdicts": {name: trouble or verdict for name, (verdict, trouble) in self.verdicts.items()},
            "lineage": self.message.lineage(),
        }
