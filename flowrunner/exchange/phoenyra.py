"""The client side of the exchange interface: orders and telemetry by HTTP, and what each answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from flowrunner.errors import NotConnected
from flowrunner.httpclient import Answer, HttpClient, NoAnswer
from flowrunner.logs import Secrets
from flowrunner.message import JSON, Instant
from flowrunner.units import iso

Meaning = Literal["accepted", "rejected", "throttled", "not-sent", "unknown"]
TELEMETRY = ("soc_percent", "active_power_mw", "temperature_c")
"""What the exchange takes: all three together, in %, MW (positive: discharging) and °C."""
REFUSED = (400, 401, 403, 404, 405, 413, 415, 422)
"""Statuses by which a server says that it did not take the request."""
SAID = 2000
"""Characters of an answer that are kept."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order. ``unknown``: it may or may not be at the exchange. ``not-sent`` and ``throttled``: it
    is not, and may be sent again."""

    meaning: Meaning
    reason: str = ""
    """The exchange's words, or what went wrong."""
    exchange_id: str = ""
    answer: JSON = None


class Phoenyra:
    """One exchange. It knows no client order ids, no cancelling, and no question for one order."""

    dedupes_client_order_id = False
    can_query = False
    can_cancel = False

    def __init__(self, client: HttpClient, url: str, api_key: str, timeout_s: float) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._headers = {"content-type": "application/json"} | ({"x-api-key": api_key} if api_key else {})
        self._timeout_s = timeout_s
        self._secrets = Secrets([api_key])

    async def place(
        self,
        *,
        client_order_id: str,
        market: str,
        delivery_start: Instant,
        delivery_end: Instant,
        side: str,
        quantity_mwh: float,
        limit_price_eur_mwh: float | None,
        order_type: str,
        time_in_force: str,
    ) -> Outcome:
        """Send an order once, and say what the answer means. Never raises for what the network or the peer does."""
        body = {
            "client_order_id": client_order_id,
            "market": market,
            "delivery_start": iso(delivery_start),
            "delivery_end": iso(delivery_end),
            "side": side,
            "quantity_mwh": quantity_mwh,
            "order_type": order_type,
            "time_in_force": time_in_force,
        }
        if limit_price_eur_mwh is not None:
            body["limit_price_eur_mwh"] = limit_price_eur_mwh
        try:
            answer = await self._post("/orders", body, fresh=True)
        except NotConnected as error:
            return Outcome(meaning="not-sent", reason=str(error))
        except NoAnswer as error:
            return Outcome(meaning="unknown", reason=str(error))
        return _order_outcome(answer)

    async def tell(self, values: Mapping[str, float]) -> str:
        """Send telemetry; "" when it was taken, else the exchange's words. NotConnected when it may be sent again."""
        try:
            answer = await self._post("/telemetry/bess", dict(values))
        except NoAnswer as error:
            raise NotConnected(str(error)) from error  # telemetry may arrive twice, orders may not
        if answer.status >= 500 or answer.status == 429:
            raise NotConnected(f"{self._url}: {words(answer)}")
        return "" if answer.status == 200 else words(answer)

    async def _post(self, path: str, body: Mapping[str, JSON], *, fresh: bool = False) -> Answer:
        answer = await self._client.request(
            "POST",
            self._url + path,
            headers=self._headers,
            content=msgspec.json.encode(body),
            timeout_s=self._timeout_s,
            fresh=fresh,
        )
        # an exchange that quotes the key must not bring it into journals and pages
        said = self._secrets.mask(answer.body.decode("utf-8", "replace"))
        return msgspec.structs.replace(answer, body=said.encode())


def _order_outcome(answer: Answer) -> Outcome:
    if answer.status == 429:
        return Outcome(meaning="throttled", reason=words(answer))
    if answer.status in REFUSED:
        return Outcome(meaning="rejected", reason=words(answer), answer={"status": answer.status})
    if answer.status != 200:
        return Outcome(meaning="unknown", reason=words(answer), answer={"status": answer.status})
    said = _json(answer)
    order_id = said.get("order_id") if isinstance(said, dict) else None
    named = isinstance(order_id, str | int) and not isinstance(order_id, bool) and order_id != ""
    if not isinstance(said, dict) or said.get("status") != "ACCEPTED" or not named:
        return Outcome(meaning="unknown", reason=f"the answer is not understood: {words(answer)}")
    known = {name: said[name] for name in ("status", "timestamp", "throttle_remaining") if name in said}
    return Outcome(meaning="accepted", exchange_id=str(order_id), answer=known)


def words(answer: Answer) -> str:
    """What the exchange said, word for word: its ``detail``, else the body's beginning, with the status."""
    said = _json(answer)
    detail = said.get("detail") if isinstance(said, dict) else None
    if isinstance(detail, list):
        detail = "; ".join(_fault(one) for one in detail)
    if not isinstance(detail, str):
        detail = answer.body[:SAID].decode("utf-8", "replace")
    return f"{answer.status}: {detail[:SAID]}" if detail else str(answer.status)


def _fault(one: JSON) -> str:
    """``{"loc": ["body", "side"], "msg": "…"}`` as ``body.side: …``."""
    if not isinstance(one, dict):
        return str(one)
    where = ".".join(str(step) for step in one.get("loc", ()))
    return f"{where}: {one.get('msg', '')}" if where else str(one.get("msg", one))


def _json(answer: Answer) -> JSON:
    try:
        return answer.json()
    except ValueError:
        return None
