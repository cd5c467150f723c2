"""What the engine says by a code, in the reader's words. Its free sentences are English: they are shown as they are, as
a quotation in that language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

Translate = Callable[..., str]

WORDS: dict[str, tuple[str, str]] = {
    # ---- why there is no order: Refusal.reason ----
    "refusal.bad": ("unusable value", "Wert unbrauchbar"),
    "refusal.changed": ("wish has changed", "Wunsch geändert"),
    "refusal.clock-drift": ("clocks are apart", "Uhren gehen auseinander"),
    "refusal.clock-set-back": ("clock was set back", "Uhr zurückgestellt"),
    "refusal.energy": ("energy of the battery", "Energie des Speichers"),
    "refusal.manual": ("value by hand", "Wert von Hand"),
    "refusal.market-blocked": ("order not settled", "Order ungeklärt"),
    "refusal.max-orders": ("number of orders", "Anzahl der Orders"),
    "refusal.missing": ("value missing", "Wert fehlt"),
    "refusal.no-max-age": ("no limit of age", "keine Altersgrenze"),
    "refusal.opposite-order": ("order the other way", "Order in Gegenrichtung"),
    "refusal.paper-order": ("ordered on paper", "auf Papier bestellt"),
    "refusal.position": ("position of the day", "Tagesposition"),
    "refusal.price": ("price out of range", "Preis außerhalb der Grenzen"),
    "refusal.price-slot-mismatch": ("price of another slot", "Preis für anderen Zeitraum"),
    "refusal.quantity": ("quantity too large", "Menge zu groß"),
    "refusal.stale": ("value stale", "Wert veraltet"),
    "refusal.stopped": ("threshold holds it", "durch Schwellwert gesperrt"),
    "refusal.trading-stopped": ("trading is stopped", "Handel gestoppt"),
    "refusal.uncertain": ("value uncertain", "Wert unsicher"),
    "refusal.untrusted": ("value not to be trusted", "Wert nicht vertrauenswürdig"),
    "refusal.value": ("value of the order", "Wert der Order"),
    # ---- what is wrong with a value: FieldInfo.trouble, and what expressions say of one ----
    "trouble.bad": ("unusable", "unbrauchbar"),
    "trouble.from the future": ("time ahead of now", "Zeit in der Zukunft"),
    "trouble.missing": ("missing", "fehlt"),
    "trouble.not a finite number": ("not a finite number", "keine endliche Zahl"),
    "trouble.not a number": ("not a number", "keine Zahl"),
    "trouble.not a single value": ("not a single value", "kein einzelner Wert"),
    "trouble.not valid yet": ("not valid yet", "gilt noch nicht"),
    "trouble.null": ("empty", "leer"),
    "trouble.stale": ("stale", "veraltet"),
    "trouble.uncertain": ("uncertain", "unsicher"),
}


_CODE = re.compile(r" \(([a-z][a-z-]{1,60})\)$")
"""How the text of an alarm ends that alarm-out has made of a refusal or an error: with its code."""


class Said(NamedTuple):
    """A text; ``engine``: it is the engine's own English sentence."""

    text: str
    engine: bool = False


class Cause(NamedTuple):
    """What is wrong: a sentence in the reader's language, and what the engine says of it."""

    text: str = ""
    engine: str = ""


def refusal(code: str, t: Translate) -> str:
    """Why there is no order, from its code; a code that is not known here is shown as it is."""
    return t(f"refusal.{code}") if f"refusal.{code}" in WORDS else code


def trouble(reason: str, t: Translate) -> str | None:
    """What is wrong with a value; None where it is said in no words that are known here."""
    return t(f"trouble.{reason}") if f"trouble.{reason}" in WORDS else None


def alarm(text: str, t: Translate) -> tuple[str, Said]:
    """Of an alarm: what its code means, "" where it has none that is known here, and its text. One that the flow gives
    (`text:` of an alarm-out) is in whatever language its author writes."""
    found = _CODE.search(text)
    if found is None:
        return "", Said(text)
    code = found[1]
    return (refusal(code, t) if f"refusal.{code}" in WORDS else ""), Said(text, engine=True)
