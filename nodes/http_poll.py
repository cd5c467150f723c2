"""http-poll: a web server, asked again and again."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Literal
from zlib import crc32

import msgspec
from msgspec import Meta

from flowrunner.errors import NotConnected, Reject
from flowrunner.fields import Limits, contradiction, outside
from flowrunner.http import not_finite
from flowrunner.httpclient import (
    Answer,
    NoAnswer,
    check_url,
    header_fault,
    pause_ns,
    shared_client,
    status_in_words,
)
from flowrunner.message import JSON, FieldInfo, Instant, Message, Quality
from flowrunner.mqtt.payload import BadPayload, Sample, sample_of
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.pick import MISSING, pick
from flowrunner.schema import Secret
from flowrunner.shape import ANYTHING, Shape, known_units
from flowrunner.units import Duration

STAGGER = Duration.parse("1s")
"""Polls of different nodes are spread over this time, or over a tenth of their interval if that is shorter."""
SHORTEST = Duration.parse("10ms")


class PolledField(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: Annotated[
        str | None, Meta(description="Where the value is in the answer, like data.0.power; as the field unless told.")
    ] = None
    time: Annotated[str | None, Meta(description="Where its time is; `timestamp` beside the value unless told.")] = None
    unit_path: Annotated[
        str | None, Meta(description="Where its unit is, if the answer tells it; `unit` beside the value unless told.")
    ] = None


class HttpPoll(Node):
    """Ask a web server for JSON again and again.

    With ``fields`` the answer becomes a record of numbers: a value that is not there, or not in a unit that fits, is an
    absent field, and an error says why; a failed poll makes all of them absent. Without ``fields`` the payload is the
    JSON as it is, and a failed poll is only an error. Redirects are not followed. A server that answers 429 or 503
    with Retry-After is left alone for so long.
    """

    example = """
        weather:
          type: http-poll
          url: https://weather.example/v1/stations/7
          every: 5min
          headers: {X-API-KEY: "${WEATHER_KEY:-}"}
          fields:
            ambient_c: {path: now.temperature.value, unit: °C, min: -50, max: 60}
            wind_ms: {path: now.wind, unit: m/s}
    """

    class Options(NodeOptions, kw_only=True):
        url: Annotated[str, Meta(description="What to ask for: http:// or https://.")]
        every: Annotated[Duration, Meta(description="Time between polls.")] = Duration.parse("30s")
        method: Annotated[Literal["GET", "POST"], Meta(description="Of the request.")] = "GET"
        headers: Annotated[dict[str, Secret], Meta(description="Sent along; one without a value is left out.")] = {}
        body: Annotated[str | dict[str, JSON] | None, Meta(description="Of a POST: text, or a map sent as JSON.")] = (
            None
        )
        timeout: Annotated[Duration, Meta(description="How long one whole answer may take.")] = Duration.parse("10s")
        ca_file: Annotated[str, Meta(description="PEM file of the authority that signed the certificate.")] = ""
        fields: Annotated[dict[NewField, PolledField] | None, Meta(description="Field → where its value is.")] = None

    options: Options
    inputs = "none"

    def check(self) -> list[Fault]:
        o, faults = self.options, []
        try:
            check_url(o.url)
        except ValueError as error:
            faults.append(Fault("url", str(error)))
        for name, value in o.headers.items():
            if wrong := header_fault(name, value):
                faults.append(Fault(f"headers.{name}", wrong))
        if o.body is not None and o.method == "GET":
            faults.append(Fault("body", "a GET has no body", "write 'method: POST', or leave it out"))
        if o.fields == {}:
            faults.append(Fault("fields", "no field is named", "name the fields, or leave 'fields' out"))
        for option in ("every", "timeout"):
            if getattr(o, option) < SHORTEST:
                hint = f"{SHORTEST} is the shortest"
                faults.append(Fault(option, f"{getattr(o, option)} is too short", hint))
        faults += [
            Fault(f"fields.{name}", wrong) for name, one in (o.fields or {}).items() if (wrong := contradiction(one))
        ]
        return faults

    def emits(self, incoming: Shape) -> Shape:
        fields = self.options.fields
        if fields is None:
            return ANYTHING
        return Shape(dict.fromkeys(fields, "number"), units=known_units({n: one.unit for n, one in fields.items()}))

    async def open(self, ctx: Context) -> None:
        o = self.options
        self.client = shared_client(ctx.shared, o.url, o.ca_file)
        self.headers = {name: value for name, value in o.headers.items() if value}
        self.body = o.body.encode() if isinstance(o.body, str) else None
        if isinstance(o.body, dict):
            self.body = msgspec.json.encode(o.body)
            self.headers = {"content-type": "application/json"} | self.headers

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        """The first poll comes at once, then one at every multiple of ``every`` plus the node's own offset."""
        every = self.options.every
        stagger = crc32(f"{ctx.flow}/{self.id}".encode()) % max(1, min(STAGGER, every // 10))
        pause_ends = 0  # by a clock that is never set back

        def plan(now: Instant) -> Instant:
            free = max(now, pause_ends - ctx.set_back)
            return free - (free - stagger) % every + every

        due = ctx.now()
        while True:
            position = ctx.position(due)
            answer = await self._ask(ctx)
            message = None
            try:
                if answer is not None:
                    message = self._message(_json(answer), position, ctx)
            except Reject as error:
                ctx.error(error.code, error.reason)
            if message is None and self.options.fields is not None:
                message = self._record({}, position, ctx)
            if message is not None:
                yield message
            pause_ends = ctx.set_back + ctx.now() + (0 if answer is None else pause_ns(answer))
            due = await ctx.sleep_until_next(plan)

    async def _ask(self, ctx: Context) -> Answer | None:
        """None: there was no answer, and it is told."""
        o = self.options
        try:
            answer = await self.client.request(
                o.method, o.url, headers=self.headers, content=self.body, timeout_s=o.timeout.seconds
            )
        except NotConnected as error:
            ctx.connected(False, str(error))
        except NoAnswer as error:
            ctx.connected(False, str(error))
            ctx.error("no-answer", str(error))
        else:
            ctx.connected(True)
            return answer
        return None

    def _message(self, payload: JSON, position: str, ctx: Context) -> Message:
        fields = self.options.fields
        if fields is None:
            where = not_finite(payload)
            if where is not None:
                raise Reject("out-of-range", f"{where or 'the answer'} is no finite number")
            return ctx.message(payload, position=position)
        samples: dict[str, Sample] = {}
        for name, one in fields.items():
            try:
                samples[name] = _sample(payload, name, one)
            except BadPayload as error:
                ctx.error(error.code, f"{name}: {error.reason}")
        return self._record(samples, position, ctx)

    def _record(self, samples: Mapping[str, Sample], position: str, ctx: Context) -> Message:
        """A field without a sample is absent and bad."""
        now = ctx.now()
        infos: dict[str, FieldInfo] = {}
        for name, one in (self.options.fields or {}).items():
            sample = samples.get(name)
            at = now if sample is None or sample.at is None else sample.at
            quality: Quality = "bad" if sample is None else "good"
            infos[name] = FieldInfo(at=at, received_at=now, source=self.id, quality=quality, unit=one.unit)
        payload = {name: sample.value for name, sample in samples.items()}
        return ctx.message(payload, position=position, at=now, fields=infos)


def _json(answer: Answer) -> JSON:
    if not 200 <= answer.status < 300:
        raise Reject("http-status", f"the server answers {status_in_words(answer.status)}")
    try:
        return answer.json()
    except ValueError as error:
        raise Reject("not-json", f"the answer cannot be read: {error}") from None


def _sample(payload: JSON, name: str, one: PolledField) -> Sample:
    path = name if one.path is None else one.path
    beside = f"{above}." if (above := path.rpartition(".")[0]) else ""
    time = f"{beside}timestamp" if one.time is None else one.time
    unit = f"{beside}unit" if one.unit_path is None else one.unit_path
    for named, told in (("time", one.time), ("unit_path", one.unit_path)):
        if told is not None and pick(payload, told) is MISSING:
            raise BadPayload(
                f"missing-{named.removesuffix('_path')}", f"there is no {told!r} in the answer; check {named}"
            )
    sample = sample_of(payload, path=path, time=time, unit=unit, target_unit=one.unit)
    if wrong := outside(sample.value, one):
        raise BadPayload("not-believed", wrong)
    return sample
