"""http-in: a route of the flow, for values that come in or the newest record that goes out."""

import asyncio
import itertools
import math
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.body import KINDS, BodyField, example, faults
from flowrunner.clock.io_time import later
from flowrunner.errors import Reject
from flowrunner.fields import contradiction, room_for_key
from flowrunner.http import (
    WRONG_KEYS_PER_SECOND,
    Request,
    Response,
    TokenBuckets,
    key_fault,
    missing_key,
    not_finite,
    parse_json,
    refusal,
    retry_after,
    same_key,
    wrong_media,
)
from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.schema import NodeName, Secret
from flowrunner.shape import ANYTHING, Shape, known_units
from flowrunner.units import Duration, Rate, Size, iso

OF_THE_PROGRAM = (
    "/api/v1", "/health", "/metrics", "/flows", "/events", "/dashboards", "/login", "/logout", "/static", "/system",
)  # fmt: skip
BELOW = ("/orders/",)
"""Below these it has pages; the path itself is free."""
MAX_DETAILS = 20
"""Wrong fields that an answer names; a body can hold thousands."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    json: Annotated[dict[str, JSON], Meta(description="The answer's body.")] = {}
    accepted_as: Annotated[str | None, Meta(description="Key under which the accepted values are given back.")] = None


class Refused(Exception):
    """A request that gets no further: the answer, with what is counted and said about it."""

    def __init__(self, response: Response) -> None:
        body: JSON = response.body
        self.response, self.code, self.detail = response, body["error"], body["detail"]


class HttpIn(Node):
    """Serve one route: take a JSON body as a message, or answer with the newest record of another node.

    Answers: 200; 400 not JSON; 401 wrong or missing ``X-API-KEY``; 413 too large; 415 not application/json;
    422 a field is wrong (it says which); 429 too fast; 503 the flow is full, or cannot keep it; 504 nobody answered in
    time. Where a reader's queue is durable, the answer comes when the message is on the disk.
    """

    example = """
        telemetry:
          type: http-in
          route: POST /api/bess/telemetry
          api_key: ${BESS_API_KEY:-}
          body:
            soc_percent: {min: 0, max: 100, unit: "%", required: true}
            active_power_mw: {min: -20, max: 20, unit: MW}
        status: {type: http-in, route: GET /api/bess/status, reply_with: telemetry}
    """

    class Options(NodeOptions):
        route: Annotated[
            str,
            Meta(
                pattern=r"^(GET|POST|PUT|PATCH|DELETE) /[A-Za-z0-9._~/-]*$",
                description="Method and path.",
                examples=["POST /api/bess/telemetry"],
            ),
        ]
        api_key: Annotated[Secret, Meta(description="Key that requests need; may be empty on loopback only.")] = ""
        body: Annotated[
            dict[NewField, BodyField] | None, Meta(description="The fields of the body; others are refused.")
        ] = None
        reply: Annotated[Reply | None, Meta(description="What is answered once the flow has the message.")] = None
        reply_with: Annotated[
            NodeName | None, Meta(description="Answer with the newest record of this node, instead of taking one.")
        ] = None
        offline_after: Annotated[Duration, Meta(description="Without a newer value the status is offline.")] = (
            Duration.parse("5min")
        )
        timeout: Annotated[Duration, Meta(description="How long an http-response may take.")] = Duration.parse("10s")
        max_body: Annotated[Size, Meta(description="A larger body is refused.")] = Size.parse("64KiB")
        rate_limit: Annotated[Rate, Meta(description="Requests of one client; more are refused.")] = Rate.parse("50/s")

    options: Options
    inputs = "none"
    self_contained = True

    def __init__(self, id: str, options: NodeOptions) -> None:  # noqa: A002  (the field's own word)
        super().__init__(id, options)
        self.numbers = itertools.count(1)
        self.method = self.options.route.partition(" ")[0]
        self.units = {name: one.unit for name, one in (self.options.body or {}).items() if one.unit}

    def claims(self) -> list[str]:
        return [f"route:{self.options.route}"]

    def check(self) -> list[Fault]:
        o = self.options
        found = [Fault(f"body.{name}", wrong) for name, one in (o.body or {}).items() if (wrong := contradiction(one))]
        found += [
            Fault(f"body.{name}", "min and max belong to numbers")
            for name, one in (o.body or {}).items()
            if one.type in ("text", "boolean") and (one.min is not None or one.max is not None)
        ]
        path = o.route.partition(" ")[2]
        own = any(path == one or path.startswith(f"{one}/") for one in OF_THE_PROGRAM) or path.startswith(BELOW)
        if path == "/" or own:
            found.append(Fault("route", f"{path} belongs to the program itself", "take another path"))
        if key_fault(o.api_key):
            found.append(Fault("api_key", key_fault(o.api_key)))
        if o.reply_with is not None and (o.body is not None or o.reply is not None):
            found.append(Fault("reply_with", "a route that answers with a record takes no body and no other reply"))
        if o.reply_with is not None and self.method != "GET":
            found.append(Fault("route", "a route that only reads must be GET", f"GET {path}"))
        if o.reply_with is None and self.method == "GET" and o.body is not None:
            found.append(Fault("body", "a GET request has no body"))
        return found

    def emits(self, incoming: Shape) -> Mapping[str, Shape]:
        if self.options.reply_with is not None:
            return {}
        if self.options.body is None:
            return {"out": ANYTHING}
        body = self.options.body
        units = known_units({name: one.unit for name, one in body.items()})
        return {"out": Shape({name: KINDS[one.type] for name, one in body.items()}, units=units)}

    async def open(self, ctx: Context) -> None:
        self.buckets = TokenBuckets(self.options.rate_limit)
        self.guesses = TokenBuckets(WRONG_KEYS_PER_SECOND)
        self.keys = set(ctx.state)

    def process(self, message: Message, ctx: Context) -> None:
        """The newest record of ``reply_with``, by key; kept over a restart."""
        if message.key not in self.keys:
            room_for_key(self.keys)
            self.keys.add(message.key)
        ctx.state.set(message.key, message)

    # ---- a request ----------------------------------------------------------------------------------------

    def handle(self, request: Request, ctx: Context) -> Response | Awaitable[Response]:
        """At once where the flow answers at once: then a request costs neither a task nor a turn of the loop."""
        try:
            return self._answer(request, ctx)
        except Refused as refused:
            return self._refused(refused, request, ctx)

    def _refused(self, refused: Refused, request: Request, ctx: Context) -> Response:
        ctx.drop(refused.code)
        ctx.log.warning(f"refused a request ({refused.code}) of %s: %s", request.client, refused.detail)
        return refused.response

    def _answer(self, request: Request, ctx: Context) -> Response | Awaitable[Response]:
        given = request.headers.get("x-api-key", "")
        known = not self.options.api_key or same_key(given, self.options.api_key)
        # Guesses draw from a bucket of their own: they must not shut out who has the key and shares their address.
        wait = (self.buckets if known else self.guesses).take(request.client, ctx.now())
        if wait > 0:
            limit = self.options.rate_limit if known else f"{WRONG_KEYS_PER_SECOND:g} wrong keys a second"
            detail = f"at most {limit}; try again in {math.ceil(wait)} s"
            raise Refused(refusal(429, "too-fast", detail, headers=retry_after(wait)))
        if not known:
            raise Refused(missing_key(given))
        if self.options.reply_with is not None:
            return self._status(request, ctx)
        if self.method == "GET":
            return self._deliver(self._query(request), request, ctx)
        return self._deliver(self._body(request), request, ctx)

    def _query(self, request: Request) -> dict[str, JSON]:
        """A GET that gives the flow something: only GET itself, and no other site's page may have a browser do it."""
        if request.method == "HEAD":
            raise Refused(refusal(405, "method", f"{request.path} takes GET", headers={"allow": "GET"}))
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(refusal(403, "origin", "requests from pages of other sites are refused"))
        return dict(request.query)

    def _body(self, request: Request) -> JSON:
        media = wrong_media(request.headers)
        if media:
            raise Refused(refusal(415, "media-type", media))
        if request.too_large or len(request.body) > self.options.max_body:
            raise Refused(refusal(413, "too-large", f"the body is larger than {self.options.max_body}"))
        try:
            body = parse_json(request.body)
        except ValueError as error:
            raise Refused(refusal(400, "not-json", str(error))) from None
        details = list(itertools.islice(self._wrong(body), MAX_DETAILS))
        if details:
            raise Refused(refusal(422, "value", "; ".join(one["message"] for one in details), fields=details))
        return body

    def _wrong(self, body: JSON) -> Iterator[dict[str, str]]:
        if self.options.body is not None:
            yield from faults(body, self.options.body)
        elif (place := not_finite(body)) is not None:
            yield {"field": place, "message": f"{place or 'the body'} must be a finite number"}

    def _deliver(self, body: JSON, request: Request, ctx: Context) -> Response | Awaitable[Response]:
        if self.options.reply is not None or "http-response" not in ctx.feeds:
            message = self._message(body, ctx)
            self._offer(message, ctx)
            return self._when_kept(message, request, ctx) if ctx.keeps() else self._accepted(message)
        handle, answer = ctx.expect_reply()
        try:
            message = self._message(body, ctx, handle)
            self._offer(message, ctx)
        except BaseException:
            ctx.forget_reply(handle)
            raise
        if answer.done():
            return answer.result()
        late = later(self.options.timeout.seconds, self._late, answer, message, ctx)

        def over(answer: asyncio.Future[Response]) -> None:
            late.cancel()
            ctx.forget_reply(handle)

        answer.add_done_callback(over)
        return answer

    def _late(self, answer: asyncio.Future[Response], message: Message, ctx: Context) -> None:
        if not answer.done():
            answer.set_result(refusal(504, "timeout", f"the flow gave no answer within {self.options.timeout}"))
            ctx.error("timeout", f"no http-response within {self.options.timeout}", message)

    def _offer(self, message: Message, ctx: Context) -> None:
        if not ctx.offer(message):
            raise Refused(
                refusal(503, "full", "the flow cannot take more now; try again in a second", headers=retry_after(1))
            )

    async def _when_kept(self, message: Message, request: Request, ctx: Context) -> Response:
        """Where the flow keeps it in a durable queue, the answer comes after that."""
        try:
            async with asyncio.timeout(self.options.timeout.seconds):
                await ctx.taken()
        except TimeoutError:
            detail = "the flow has it and cannot keep it on its disk at present; send it again later"
            return self._refused(Refused(refusal(503, "not-kept", detail, headers=retry_after(5))), request, ctx)
        return self._accepted(message)

    def _message(self, body: JSON, ctx: Context, handle: str = "") -> Message:
        """``handle``: who waits for the answer."""
        fields: dict[str, FieldInfo] | None = {} if self.units and isinstance(body, dict) else None
        position, meta = f"request:{ctx.now()}:{next(self.numbers)}", {"reply": handle} if handle else None
        message = ctx.message(body, position=position, fields=fields, meta=meta)
        if fields is not None:  # as old as the message, which is not there before
            infos: dict[str | None, FieldInfo] = {}
            for name in body:
                unit = self.units.get(name)
                if unit not in infos:
                    infos[unit] = message.as_info(unit=unit)
                fields[name] = infos[unit]
        return message

    def say(self, value: JSON, ctx: Context) -> Message:
        if wrong := next(self._wrong(value), None):
            raise Reject("value", wrong["message"])
        return self._message(value, ctx)

    def _accepted(self, message: Message) -> Response:
        reply = self.options.reply or Reply(json={"status": "OK"})
        answer = dict(reply.json)
        if reply.accepted_as is not None:
            taken = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
            answer[reply.accepted_as] = {**taken, "timestamp": iso(message.at)}
        return Response(body=answer)

    def sample_body(self) -> dict[str, JSON] | None:
        """A body that this route takes, for people who try it; None where it takes none or any."""
        return example(self.options.body) if self.options.body else None

    # ---- the newest record -----------------------------------------------------------------------------------

    def _status(self, request: Request, ctx: Context) -> Response:
        keys = sorted(ctx.state)
        key = request.query.get("key", keys[0] if len(keys) == 1 else "")
        message = ctx.state.get(key, Message)
        if message is None and (key or len(keys) > 1):
            detail = f"there is no record of {key[:64]!r}" if key else "there are several records; ask with ?key=…"
            raise Refused(refusal(404, "unknown-key", detail, keys=keys[:100]))
        expected = () if ctx.incoming.open else tuple(ctx.incoming.fields)
        return Response(body=self._record(message, expected, ctx.now()))

    def _record(self, message: Message | None, expected: Iterable[str], now: Instant) -> dict[str, JSON]:
        record: dict[str, JSON] = {}
        if message is not None:
            record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        names = dict.fromkeys([*expected, *record, *(message.fields or {} if message else {})])
        fields = {name: _field(name, message, record, now) for name in names}
        ages = [message.info(name).age_ns(now) for name in record] if message else []
        if not ages or min(ages) > self.options.offline_after:
            status = "offline"
        else:
            status = "online" if all(not one["stale"] for one in fields.values()) else "stale"
        values = {name: fields[name]["value"] for name in names}
        stamp = iso(max(message.info(name).at for name in record)) if message and record else None
        head = {"status": status, "timestamp": stamp, **({"key": message.key} if message and message.key else {})}
        return {**head, **{name: value for name, value in values.items() if name not in head}, "fields": fields}


def _field(name: str, message: Message | None, record: dict[str, JSON], now: Instant) -> dict[str, JSON]:
    """One field with where it comes from and how old it is; a field without a value says so, it is never 0."""
    if message is None or (name not in record and name not in (message.fields or {})):
        return {"value": None, "stale": True, "quality": "bad", "reason": "no value yet"}
    return {"value": record.get(name), **message.info(name).shown(now)}
