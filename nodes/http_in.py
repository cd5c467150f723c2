"""http-in: a route of the flow, for values that come in or the newest record that goes out."""

import asyncio
import hmac
import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.errors import did_you_mean
from flowrunner.fields import Limits, contradiction, is_number, outside
from flowrunner.http import Request, Response, TokenBuckets, parse_json, refusal
from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.schema import NodeName, Secret
from flowrunner.shape import ANYTHING, Kind, Shape
from flowrunner.units import Duration, Rate, Size, iso, seconds_text

TYPES: dict[str, tuple[type, ...]] = {"number": (int, float), "integer": (int,), "text": (str,), "boolean": (bool,)}
KINDS: dict[str, Kind] = {"number": "number", "integer": "number", "text": "text", "boolean": "bool"}


class BodyField(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Annotated[Literal["number", "integer", "text", "boolean"], Meta(description="What the value must be.")] = (
        "number"
    )
    required: Annotated[bool, Meta(description="Refuse a body without it.")] = False


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    json: Annotated[dict[str, JSON], Meta(description="The answer's body.")] = {}
    accepted_as: Annotated[str | None, Meta(description="Key under which the accepted values are given back.")] = None


class HttpIn(Node):
    """Serve one route: take a JSON body as a message, or answer with the newest record of another node.

    Answers: 200; 400 not JSON; 401 wrong or missing ``X-API-KEY``; 413 too large; 415 not application/json;
    422 a field is wrong (it says which); 429 too fast; 503 the flow is full; 504 nobody answered in time.
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

    @property
    def method(self) -> str:
        return self.options.route.partition(" ")[0]

    def claims(self) -> list[str]:
        return [f"route:{self.options.route}"]

    def check(self) -> list[Fault]:
        o = self.options
        faults = [Fault(f"body.{name}", wrong) for name, one in (o.body or {}).items() if (wrong := contradiction(one))]
        faults += [
            Fault(f"body.{name}", "min and max belong to numbers")
            for name, one in (o.body or {}).items()
            if one.type in ("text", "boolean") and (one.min is not None or one.max is not None)
        ]
        path = o.route.partition(" ")[2]
        if path == "/" or path.startswith(("/api/v1", "/health", "/metrics", "/flows", "/events")):
            faults.append(Fault("route", f"{path} belongs to the program itself", "take another path"))
        if o.reply_with is not None and (o.body is not None or o.reply is not None):
            faults.append(Fault("reply_with", "a route that answers with a record takes no body and no other reply"))
        if o.reply_with is not None and self.method != "GET":
            faults.append(Fault("route", "a route that only reads must be GET", f"GET {path}"))
        if o.reply_with is None and self.method == "GET" and o.body is not None:
            faults.append(Fault("body", "a GET request has no body"))
        return faults

    def emits(self, incoming: Shape) -> Mapping[str, Shape]:
        if self.options.reply_with is not None:
            return {}
        if self.options.body is None:
            return {"out": ANYTHING}
        return {"out": Shape({name: KINDS[one.type] for name, one in self.options.body.items()})}

    async def open(self, ctx: Context) -> None:
        self.buckets = TokenBuckets(self.options.rate_limit)
        self.numbers = itertools.count(1)
        if self.options.reply_with is None:
            return
        self.expected = () if ctx.incoming.open else tuple(ctx.incoming.fields)

    def process(self, message: Message, ctx: Context) -> None:
        """The newest record of ``reply_with``, by key; kept over a restart."""
        ctx.state.set(message.key, message)

    # ---- a request ----------------------------------------------------------------------------------------

    async def handle(self, request: Request, ctx: Context) -> Response:
        wait = self.buckets.take(request.client, ctx.now())
        if wait > 0:
            answer = refusal(429, "too-fast", f"at most {self.options.rate_limit}; try again in {math.ceil(wait)} s")
            return msgspec.structs.replace(answer, headers={"retry-after": str(math.ceil(wait))})
        if self.options.api_key:
            given = request.headers.get("x-api-key", "")
            if not hmac.compare_digest(given.encode(), self.options.api_key.encode()):
                what = "is wrong" if given else "is missing"
                return refusal(401, "unauthorized", f"the header X-API-KEY {what}")
        if self.options.reply_with is not None:
            return self._status(request, ctx)
        if self.method == "GET":
            return await self._deliver(dict(request.query), ctx)
        return await self._take(request, ctx)

    async def _take(self, request: Request, ctx: Context) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            return refusal(415, "media-type", "send the body as application/json")
        if len(request.body) > self.options.max_body:
            return refusal(413, "too-large", f"the body is larger than {self.options.max_body}")
        try:
            body = parse_json(request.body)
        except ValueError as error:
            return refusal(400, "not-json", str(error))
        if self.options.body is not None:
            details = self._wrong(body)
            if details:
                return refusal(422, "value", "; ".join(one["message"] for one in details), fields=details)
        return await self._deliver(body, ctx)

    def _wrong(self, body: JSON) -> list[dict[str, str]]:
        rules = self.options.body or {}
        if not isinstance(body, dict):
            return [{"field": "", "message": "the body must be an object with fields"}]
        found = [(name, self._wrong_field(name, value)) for name, value in body.items()]
        found += [(name, f"{name} is missing") for name, one in rules.items() if one.required and name not in body]
        if not body:
            found.append(("", f"the body has no field; known: {', '.join(rules)}"))
        return [{"field": name, "message": text} for name, text in found if text]

    def _wrong_field(self, name: str, value: JSON) -> str:
        rule = (self.options.body or {}).get(name)
        if rule is None:
            near = did_you_mean(name, self.options.body or {})
            return f"{name[:64]} is not a field here" + (f", {near}" if near else "")
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name} must be a finite number"
        fits = isinstance(value, TYPES[rule.type]) and (isinstance(value, bool) == (rule.type == "boolean"))
        if not fits:
            return f"{name} must be {'an' if rule.type == 'integer' else 'a'} {rule.type}"
        if rule.type in ("number", "integer") and not is_number(value):
            return f"{name} must be a finite number"
        text = outside(value, rule) if is_number(value) else ""
        return f"{name}: {text}" if text else ""

    async def _deliver(self, body: JSON, ctx: Context) -> Response:
        message = self._message(body, ctx)
        if self.options.reply is not None or "http-response" not in ctx.feeds:
            return self._accepted(message) if ctx.offer(message) else self._full()
        handle, answer = ctx.expect_reply()
        message = msgspec.structs.replace(message, meta={"reply": handle})
        try:
            if not ctx.offer(message):
                return self._full()
            async with asyncio.timeout(self.options.timeout.seconds):
                return await answer
        except TimeoutError:
            ctx.error("timeout", f"no http-response within {self.options.timeout}", message)
            return refusal(504, "timeout", f"the flow gave no answer within {self.options.timeout}")
        finally:
            ctx.forget_reply(handle)

    def _message(self, body: JSON, ctx: Context) -> Message:
        units = {name: one.unit for name, one in (self.options.body or {}).items() if one.unit}
        message = ctx.message(body, position=f"request:{ctx.now()}:{next(self.numbers)}")
        if not units or not isinstance(body, dict):
            return message
        infos: dict[str, FieldInfo] = {name: message.as_info(unit=units.get(name)) for name in body}
        return msgspec.structs.replace(message, fields=infos)

    def _accepted(self, message: Message) -> Response:
        reply = self.options.reply or Reply(json={"status": "OK"})
        answer = dict(reply.json)
        if reply.accepted_as is not None:
            taken = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
            answer[reply.accepted_as] = {**taken, "timestamp": iso(message.at)}
        return Response(body=answer)

    def _full(self) -> Response:
        answer = refusal(503, "full", "the flow cannot take more now")
        return msgspec.structs.replace(answer, headers={"retry-after": "1"})

    # ---- the newest record -----------------------------------------------------------------------------------

    def _status(self, request: Request, ctx: Context) -> Response:
        keys = sorted(ctx.state)
        key = request.query.get("key", keys[0] if len(keys) == 1 else "")
        message = ctx.state.get(key, Message)
        if message is None and (key or len(keys) > 1):
            detail = f"there is no record of {key[:64]!r}" if key else "there are several records; ask with ?key=…"
            return refusal(404, "unknown-key", detail, keys=keys[:100])
        return Response(body=self._record(message, ctx.now()))

    def _record(self, message: Message | None, now: Instant) -> dict[str, JSON]:
        record: dict[str, JSON] = {}
        if message is not None:
            record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
        names = dict.fromkeys([*self.expected, *record, *(message.fields or {} if message else {})])
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
    info = message.info(name)
    trouble = info.trouble(now)
    return {
        "value": record.get(name),
        "at": iso(info.at),
        "age_s": seconds_text(info.age_ns(now)),
        "source": info.source,
        "origin": info.origin,
        "quality": info.quality,
        "stale": bool(trouble),
        **({"unit": info.unit} if info.unit else {}),
        **({"reason": trouble} if trouble else {}),
    }
