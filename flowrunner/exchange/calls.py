"""One exchange asked by HTTP: its clock compared with ours at every answer, and no key in what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import msgspec

from flowrunner.errors import NotConnected
from flowrunner.exchange.adapter import Meaning, Outcome, Ticket, Told
from flowrunner.exchange.offset import date_of, offset_between
from flowrunner.fields import is_number
from flowrunner.httpclient import Answer, HttpClient, NoAnswer
from flowrunner.logs import Secrets
from flowrunner.message import JSON, Instant

REFUSED = (400, 401, 403, 404, 405, 413, 415, 422)
"""Statuses by which a server says that it did not take the request."""
SAID = 2000
"""Characters of an answer that are kept."""
KEY = 8
"""Characters from which on a secret is certainly one: an id that holds a shorter one does so by chance."""


def meaning_of(status: int) -> Meaning:
    """What an answer that is no success says of an order."""
    if status == 429:
        return "throttled"
    return "rejected" if status in REFUSED else "unknown"


class Calls:
    """The calls to one exchange. ``secrets`` are masked in :meth:`words` and by :meth:`mask`; what :meth:`said` gives
    is unmasked, for comparing."""

    def __init__(
        self,
        client: HttpClient,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        now: Callable[[], Instant],
        secrets: Collection[str],
    ) -> None:
        self.url = url.rstrip("/")
        self.offset_ns: int | None = None
        """As :class:`~flowrunner.exchange.adapter.Adapter` has it."""
        self._client = client
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._now = now
        self._secrets = Secrets(secrets)
        self._keys = Secrets(secret for secret in secrets if len(secret) >= KEY)

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        fresh: bool = False,
        still: Callable[[], str] | None = None,
    ) -> Answer:
        """As :meth:`HttpClient.request`, with the exchange's address, headers and time limit. An answer of whatever
        status tells what the exchange's clock shows."""
        sent = self._now()
        answer = await self._client.request(
            method,
            self.url + path,
            headers=self._headers,
            content=content,
            timeout_s=self._timeout_s,
            fresh=fresh,
            still=still,
        )
        date = date_of(answer.headers)
        if date is not None:
            self.offset_ns = offset_between(date, sent, self._now())
        return answer

    async def question(self, path: str) -> Answer:
        """The answer to a question that changes nothing; NotConnected where there is none now."""
        try:
            answer = await self.ask("GET", path)
        except NoAnswer as error:
            raise NotConnected(str(error)) from error
        if answer.status >= 500 or answer.status == 429:
            raise NotConnected(f"{self.url}: {self.words(answer)}")
        return answer

    async def order(
        self, method: str, path: str, content: bytes, still: Callable[[], str], is_success: Callable[[int], bool]
    ) -> Answer | Outcome:
        """Send an order, once: the answer where its status is a success, else what became of the order."""
        try:
            answer = await self.ask(method, path, content, fresh=True, still=still)
        except NotConnected as error:
            return Outcome(meaning="not-sent", reason=str(error))
        except NoAnswer as error:
            return Outcome(meaning="unknown", reason=str(error))
        if is_success(answer.status):
            return answer
        meaning = meaning_of(answer.status)
        about = None if meaning == "throttled" else {"status": answer.status}
        return Outcome(meaning=meaning, reason=self.words(answer), answer=about)

    def said(self, answer: Answer) -> JSON:
        """The JSON of an answer; None where it is none."""
        try:
            return answer.json()
        except ValueError:
            return None

    def order_id(self, value: JSON) -> str:
        """An exchange's id of an order as text; "" for what is none, and for what quotes a key."""
        named = order_id(value)
        return named if self._keys.mask(named) == named else ""

    def kept(self, told: Told) -> Told | None:
        """What may be kept of it: None where an id of it quotes a key."""
        if not self.order_id(told.exchange_id) or self._keys.mask(told.client_order_id) != told.client_order_id:
            return None
        return msgspec.structs.replace(told, status=self._secrets.mask(told.status))

    def words(self, answer: Answer) -> str:
        """What the exchange said, word for word: its ``detail``, else the body's beginning, with the status."""
        said = self.said(answer)
        detail = said.get("detail") if isinstance(said, dict) else None
        if isinstance(detail, list):
            detail = "; ".join(_fault(one) for one in detail)
        if not isinstance(detail, str):
            detail = answer.body.decode("utf-8", "replace")
        detail = self._secrets.mask(detail)[:SAID]
        return f"{answer.status}: {detail}" if detail else str(answer.status)

    def mask(self, value: JSON) -> JSON:
        """The value with the secrets in its texts masked."""
        if isinstance(value, str):
            return self._secrets.mask(value)
        if isinstance(value, list):
            return [self.mask(one) for one in value]
        if isinstance(value, dict):
            return {self._secrets.mask(key): self.mask(one) for key, one in value.items()}
        return value


def order_id(value: JSON) -> str:
    """An exchange's id of an order as text; "" for what is none."""
    is_id = (isinstance(value, str) and len(value) <= 200) or (isinstance(value, int) and not isinstance(value, bool))
    return str(value) if is_id else ""


def unsendable(ticket: Ticket) -> str:
    """Why no request can carry this order, or "": JSON has no NaN, and a text may be no Unicode."""
    for name in ("quantity_mwh", "limit_price_eur_mwh"):
        value = getattr(ticket, name)
        if value is not None and not is_number(value):
            return f"{name} is {value!r}, which no request can carry; nothing was sent"
    for name in ("client_order_id", "market", "side", "order_type", "time_in_force"):
        try:
            getattr(ticket, name).encode()
        except UnicodeEncodeError:
            return f"{name} is no Unicode text, which no request can carry; nothing was sent"
    return ""


def same(one: float, other: float) -> bool:
    """Whether two quantities or prices are the same but for the last digit of a float."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


def _fault(one: JSON) -> str:
    """``{"loc": ["body", "side"], "msg": "…"}`` as ``body.side: …``."""
    if not isinstance(one, dict):
        return str(one)
    loc = one.get("loc")
    where = ".".join(str(step) for step in loc) if isinstance(loc, list) else ""
    return f"{where}: {one.get('msg', '')}" if where else str(one.get("msg", one))
