"""The words of titles: key → (English, German), with places for an event's values."""

from __future__ import annotations

from collections.abc import Mapping

from flowrunner.message import JSON

TITLES: dict[str, tuple[str, str]] = {
    "alarm.info": ("Note", "Hinweis"),
    "alarm.warning": ("Warning", "Warnung"),
    "alarm.critical": ("Critical alarm", "Kritischer Alarm"),
    "acknowledgement": ("Alarm acknowledged", "Alarm quittiert"),
    "order.BUY": (
        "Buy {quantity_mwh} MWh at {price_eur_mwh} €/MWh for {delivery_start} to {delivery_end}",
        "Kauf {quantity_mwh} MWh zu {price_eur_mwh} €/MWh für {delivery_start} bis {delivery_end}",
    ),
    "order.SELL": (
        "Sell {quantity_mwh} MWh at {price_eur_mwh} €/MWh for {delivery_start} to {delivery_end}",
        "Verkauf {quantity_mwh} MWh zu {price_eur_mwh} €/MWh für {delivery_start} bis {delivery_end}",
    ),
    "order.BUY.any-price": (
        "Buy {quantity_mwh} MWh at any price for {delivery_start} to {delivery_end}",
        "Kauf {quantity_mwh} MWh zu jedem Preis für {delivery_start} bis {delivery_end}",
    ),
    "order.SELL.any-price": (
        "Sell {quantity_mwh} MWh at any price for {delivery_start} to {delivery_end}",
        "Verkauf {quantity_mwh} MWh zu jedem Preis für {delivery_start} bis {delivery_end}",
    ),
    "order.word": ("A person's word about an order", "Eine Person hat über eine Order entschieden"),
    "refusal.BUY": ("No order to buy for {delivery_start}", "Keine Kauforder für {delivery_start}"),
    "refusal.SELL": ("No order to sell for {delivery_start}", "Keine Verkaufsorder für {delivery_start}"),
    "entry": ("Entered by hand", "Von Hand eingegeben"),
    "entry.refused": ("Entry by hand refused", "Eingabe von Hand abgelehnt"),
    "reload.applied": ("Flow reloaded", "Flow neu geladen"),
    "reload.unchanged": ("Read again, nothing new", "Neu gelesen, nichts geändert"),
    "reload.refused": ("Reload refused, what ran runs on", "Neuladen abgelehnt, der alte Stand läuft weiter"),
    "reload.failed": ("Reload failed, what ran runs on", "Neuladen gescheitert, der alte Stand läuft weiter"),
    "trading.stopped": ("Trading stopped", "Handel gestoppt"),
    "trading.resumed": ("Trading goes on", "Handel läuft weiter"),
    "letter": ("Message rejected", "Nachricht abgelehnt"),
    "letters": ("Dead letters", "Abgelehnte Nachrichten"),
    "login": ("Logged in", "Angemeldet"),
    "login-failed": ("Log-in failed", "Anmeldung fehlgeschlagen"),
    "logout": ("Logged out", "Abgemeldet"),
    "user": ("Users", "Benutzer"),
    "key": ("Keys", "Schlüssel"),
}


def english(key: str, values: Mapping[str, JSON]) -> str:
    """A title for machines' files; numbers and times as they are kept."""
    return TITLES[key][0].format_map({name: "" if value is None else value for name, value in values.items()})
