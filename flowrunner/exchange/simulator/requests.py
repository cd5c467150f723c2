"""What clients may post: every field checked, all findings at once, in the form that FastAPI gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from typing import TypeVar, get_args

import msgspec

from flowrunner.exchange.simulator.model import OrderRequest, OrderType, Side, Telemetry, TimeInForce
from flowrunner.message import JSON, Instant
from flowrunner.units import parse_instant

T = TypeVar("T")
_MISSING: JSON = object()  # no JSON value: told from null by identity
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Refused(Exception):
    """A body that is not taken. ``details`` is the 422's list of ``{"loc", "msg", "type"}``."""

    def __init__(self, details: list[JSON]) -> None:
        self.details = details
        super().__init__(details)


class _Bad(Exception):
    def __init__(self, kind: str, msg: str) -> None:
        self.kind, self.msg = kind, msg
        super().__init__(msg)


def detail(kind: str, msg: str, *loc: str | int) -> JSON:
    return {"loc": list(loc), "msg": msg, "type": kind}


def decoded(raw: bytes) -> JSON:
    """The JSON in a request's body; NaN and Infinity are not JSON. Refused when it is none."""
    try:
        found: JSON = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused([detail("json_invalid", "JSON decode error", "body")]) from None
    return found


def telemetry(body: JSON) -> Telemetry:
    """All three fields or Refused; others are ignored."""
    fields = _Fields(body)
    found = Telemetry(
        soc_percent=fields.take("soc_percent", _percent, 0.0),
        active_power_mw=fields.take("active_power_mw", _number, 0.0),
        temperature_c=fields.take("temperature_c", _number, 0.0),
    )
    fields.refuse()
    return found


def order(body: JSON, markets: Collection[str], *, with_client_id: bool) -> OrderRequest:
    """A valid order or Refused; unknown fields are ignored.

    ``with_client_id``: ``client_order_id`` is a field of this exchange and checked; else kept where it is a text.
    """

    def market(value: JSON) -> str:
        text = _text(value)
        if text not in markets:
            raise _Bad("value_error", f"Value error, unknown market; known: {', '.join(sorted(markets))}")
        return text

    fields = _Fields(body)
    start = fields.take("delivery_start", _instant, 0)
    end = fields.take("delivery_end", _instant, 0)
    if not fields.found and end <= start:
        fields.found.append(
            detail("value_error", "Value error, delivery_end must be after delivery_start", "body", "delivery_end")
        )
    client_id = fields.value("client_order_id")
    if with_client_id:
        named = fields.take("client_order_id", _client_id, None, optional=True)
    else:
        named = client_id if isinstance(client_id, str) else None
    found = OrderRequest(
        market=fields.take("market", market, ""),
        delivery_start=start,
        delivery_end=end,
        side=fields.take("side", _one_of(get_args(Side)), "BUY"),
        quantity_mwh=fields.take("quantity_mwh", _above_zero, 0.0),
        limit_price_eur_mwh=fields.take("limit_price_eur_mwh", _number, 0.0, optional=True),
        order_type=fields.take("order_type", _one_of(get_args(OrderType)), "LIMIT", optional=True),
        time_in_force=fields.take("time_in_force", _one_of(get_args(TimeInForce)), "GFD", optional=True),
        client_order_id=named,
    )
    fields.refuse()
    return found


class _Fields:
    """The fields of one body, and what is wrong with them so far."""

    def __init__(self, body: JSON) -> None:
        if not isinstance(body, dict):
            raise Refused([detail("model_attributes_type", "Input should be a valid dictionary", "body")])
        self._body = body
        self.found: list[JSON] = []

    def value(self, name: str) -> JSON:
        return self._body.get(name, _MISSING)

    def take(self, name: str, check: Callable[[JSON], T], default: T, *, optional: bool = False) -> T:
        """The checked value. ``default`` where it is absent and may be, and where it is bad: then a finding says so."""
        value = self.value(name)
        if value is _MISSING:
            if not optional:
                self.found.append(detail("missing", "Field required", "body", name))
            return default
        try:
            return check(value)
        except _Bad as bad:
            self.found.append(detail(bad.kind, bad.msg, "body", name))
            return default

    def refuse(self) -> None:
        if self.found:
            raise Refused(self.found)


def _text(value: JSON) -> str:
    if not isinstance(value, str):
        raise _Bad("string_type", "Input should be a valid string")
    return value


def _number(value: JSON) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Bad("float_type", "Input should be a valid number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise _Bad("finite_number", "Input should be a finite number")
    return found


def _above_zero(value: JSON) -> float:
    found = _number(value)
    if found <= 0:
        raise _Bad("greater_than", "Input should be greater than 0")
    return found


def _percent(value: JSON) -> float:
    found = _number(value)
    if found < 0:
        raise _Bad("greater_than_equal", "Input should be greater than or equal to 0")
    if found > 100:
        raise _Bad("less_than_equal", "Input should be less than or equal to 100")
    return found


def _instant(value: JSON) -> Instant:
    text = _text(value)
    try:
        return parse_instant(text)
    except ValueError as error:
        if "no time zone" in str(error):
            raise _Bad("timezone_aware", "Input should have timezone info") from None
        raise _Bad("datetime_parsing", "Input should be a valid datetime") from None


def _client_id(value: JSON) -> str | None:
    if value is None:
        return None
    text = _text(value)
    if not _CLIENT_ID.fullmatch(text):
        raise _Bad("string_pattern_mismatch", "String should be 1 to 128 visible ASCII characters")
    return text


def _one_of(words: tuple[T, ...]) -> Callable[[JSON], T]:
    *others, last = (f"'{word}'" for word in words)

    def check(value: JSON) -> T:
        for word in words:
            if value == word:
                return word
        raise _Bad("literal_error", f"Input should be {', '.join(others)} or {last}")

    return check
