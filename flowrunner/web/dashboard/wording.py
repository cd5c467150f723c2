"""What fields are called where nobody gave them a title, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from flowrunner.flowfile.dashboard import Title


class Named(TypedDict):
    """A title in the languages of the pages."""

    en: str
    de: str


FIELDS: Mapping[str, tuple[str, str]] = {
    "soc_percent": ("State of charge", "Ladezustand"),
    "soh_percent": ("State of health", "Gesundheitszustand"),
    "active_power_mw": ("Power", "Leistung"),
    "active_power_kw": ("Power", "Leistung"),
    "power_mw": ("Power", "Leistung"),
    "power_kw": ("Power", "Leistung"),
    "power_w": ("Power", "Leistung"),
    "reactive_power_mvar": ("Reactive power", "Blindleistung"),
    "temperature_c": ("Temperature", "Temperatur"),
    "energy_mwh": ("Energy", "Energie"),
    "energy_kwh": ("Energy", "Energie"),
    "price_eur_mwh": ("Price", "Preis"),
    "price_now_eur_mwh": ("Price now", "Preis jetzt"),
    "frequency_hz": ("Frequency", "Frequenz"),
    "voltage_v": ("Voltage", "Spannung"),
    "current_a": ("Current", "Strom"),
    "quantity_mwh": ("Quantity", "Menge"),
    "limit_price_eur_mwh": ("Limit price", "Limitpreis"),
    "side": ("Side", "Seite"),
    "state": ("State", "Zustand"),
    "value": ("Value", "Wert"),
}
TILES: Mapping[str, tuple[str, str]] = {
    "chart": ("History", "Verlauf"),
    "table": ("Values", "Werte"),
    "orders": ("Orders", "Orders"),
    "alarms": ("Alarms", "Alarme"),
    "why": ("Why?", "Warum?"),
    "form": ("Manual entry", "Manuelle Eingabe"),
    "events": ("Events", "Ereignisse"),
    "text": ("", ""),
}


def named(title: Title | None, otherwise: tuple[str, str] = ("", "")) -> Named:
    """A title in both languages. A missing language has that of the other one; ``otherwise`` where none is given."""
    if title is None or title == {}:
        return {"en": otherwise[0], "de": otherwise[1]}
    if isinstance(title, str):
        return {"en": title, "de": title}
    first = next(iter(title.values()))
    english = title.get("en", first)
    return {"en": english, "de": title.get("de", english)}


def of_field(field: str, title: Title | None = None) -> Named:
    """Of a field: its well-known name, else the field as it is."""
    return named(title, FIELDS.get(field, (field, field)))


def together(titles: list[Named]) -> Named:
    """Of several: ``Price, Power and State of charge``."""

    def joined(words: list[str], last: str) -> str:
        words = list(dict.fromkeys(words))
        return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)

    return {"en": joined([one["en"] for one in titles], "and"), "de": joined([one["de"] for one in titles], "und")}
