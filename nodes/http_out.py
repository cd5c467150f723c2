"""http-out: messages to a web server."""

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowrunner.errors import NotConnected, Reject, Retry, did_you_mean
from flowrunner.http import not_finite
from flowrunner.httpclient import (
    Answer,
    NoAnswer,
    UrlText,
    header_fault,
    in_the_open,
    pause_ns,
    place_of,
    secrets_in,
    secrets_of,
    shared_client,
    status_in_words,
)
from flowrunner.logs import Secrets
from flowrunner.message import JSON, Message
from flowrunner.node import Context, Fault, Node, NodeOptions, Queue
from flowrunner.pick import MISSING
from flowrunner.schema import Secret, Template
from flowrunner.shape import Shape
from flowrunner.template import BUILT_IN, Json, TemplateError, Text
from flowrunner.units import SECOND, Duration

SHORTEST = Duration.parse("10ms")
LATER = (408, 425, 429)
"""Statuses below 500 that say nothing against the message: it may come again."""
LONG_PAUSE = Duration.parse("1min")
"""A server that asks for more is as good as away."""
NEVER = (501, 505)
"""Those from 500 on by which a server says that it cannot do this at all."""
SAID = 500
"""Characters of a refusal that are told."""
WORD_AT_END = re.compile(r"[\w.+/=~%-]+$")
"""What may be the beginning of a key, where a text is cut."""
MOST_KEPT = 65_536
"""Bytes of an answer that go on; of a longer one only the status does."""


class HttpOut(Node):
    """Send each message to a web server: records as JSON, text as it is.

    An answer of 2xx leaves by ``out`` as ``{status, body}``. While the server is away, or answers 408, 425, 429 or 5xx,
    the message waits in front of all others and is sent again, as late as Retry-After asks for (an hour at most); the
    inbox keeps those behind it, on the disk unless ``queue`` says otherwise. Any other answer is a refusal of this
    message. Redirects are not followed.

    A message may arrive twice. All its requests have the same Idempotency-Key, so that a server can tell.
    """

    example = """
        telemetry: {type: manual-in, key: north, fields: {soc_percent: {min: 0, max: 100}}}
        cloud:
          type: http-out
          from: telemetry
          url: https://cloud.example/v1/sites/{key}/telemetry
          headers: {X-API-KEY: "${CLOUD_KEY:-}"}
          body: {time: "{at}", soc: "{soc_percent}"}
          queue: {durable: true, size: 10000, when_full: drop_oldest, max_age: 1d}
    """

    class Options(NodeOptions, kw_only=True):
        url: Annotated[
            Template, Meta(description="Where to send it; {key} and {field} places in path and query are quoted.")
        ]
        method: Annotated[Literal["POST", "PUT", "PATCH"], Meta(description="Of the request.")] = "POST"
        headers: Annotated[dict[str, Secret], Meta(description="Sent along; one without a value is left out.")] = {}
        body: Annotated[
            Template | dict[str, JSON] | None,
            Meta(
                description="Text with {field} places, or a map that is sent as JSON: a text in it that is only a "
                "place becomes its value. Without it, the payload."
            ),
        ] = None
        content_type: Annotated[
            str, Meta(description="Of the body; as JSON or text/plain, by what it is, unless told.")
        ] = ""
        timeout: Annotated[Duration, Meta(description="How long one whole answer may take.")] = Duration.parse("10s")
        ca_file: Annotated[str, Meta(description="PEM file of the authority that signed the certificate.")] = ""
        also_done: Annotated[
            list[Annotated[int, Meta(ge=400, le=499)]],
            Meta(description="Statuses beside 2xx that mean it is done, like 409 of a server that has it already."),
        ] = []
        give_up_after: Annotated[
            Duration | None,
            Meta(
                description="A message that the server does not answer, or by 408, 425, 429 or 5xx, for so long is "
                "refused: it may be the message. Without it, it is sent until it is taken. A pause that the server "
                "asks for is kept also beyond."
            ),
        ] = None
        idempotency_key: Annotated[str, Meta(description="The header that tells repeats; an empty text: none.")] = (
            "Idempotency-Key"
        )

    options: Options
    side_effect = "idempotent"
    default_queue = Queue(durable=True)

    def check(self) -> Iterator[Fault]:
        o = self.options
        try:
            sample = UrlText(o.url).sample
        except TemplateError:
            pass  # told of every template
        except ValueError as error:
            yield Fault("url", str(error))
        else:
            if name := in_the_open(sample, o.headers):
                option = f"headers.{name}" if name in o.headers else "url"
                text = f"{name} goes over the net as everybody there can read it"
                yield Fault(option, text, "use https:// where the server has it", "warning")
        own = {"content-type": "content_type", o.idempotency_key.lower(): "idempotency_key"}
        for name, value in o.headers.items():
            if wrong := header_fault(name, value):
                yield Fault(f"headers.{name}", wrong)
            elif name.lower() in own:
                yield Fault(f"headers.{name}", f"'{own[name.lower()]}' says this", "write it there")
        for option, name, value in (
            ("content_type", "Content-Type", o.content_type),
            ("idempotency_key", o.idempotency_key or "X", ""),
        ):
            if wrong := header_fault(name, value):
                yield Fault(option, wrong)
        try:
            Json(o.body)
        except TemplateError as error:
            yield Fault("body", str(error), "a place is a field's name, like {soc_percent}; a brace is {{ or }}")
        if o.timeout < SHORTEST:
            yield Fault("timeout", f"{o.timeout} is too short", f"{SHORTEST} is the shortest")
        for status in o.also_done:
            if status in LATER:
                yield Fault("also_done", f"{status} asks to send it again", "leave it out")

    def emits(self, incoming: Shape) -> Shape:
        known = [*incoming.fields, *BUILT_IN]
        for name in Json(self.options.body).places if isinstance(self.options.body, dict) else ():
            if name not in known and not incoming.open:
                hint = did_you_mean(name, known) or f"fields here: {', '.join(incoming.fields)}"
                raise ValueError(f"body: no field {name!r} comes in; {hint}")
        return Shape({"status": "number", "body": None})

    async def open(self, ctx: Context) -> None:
        o = self.options
        self.url = UrlText(o.url)
        self.body = None if o.body is None else Text(o.body) if isinstance(o.body, str) else Json(o.body)
        self.client = shared_client(ctx.shared, self.url.sample, o.ca_file)
        self.headers = {name: value for name, value in o.headers.items() if value}
        self.secrets = Secrets(secrets_of(o.headers).values())
        self.unsaid = Secrets({*secrets_of(o.headers).values(), *secrets_in(self.url.sample)})

    async def process(self, message: Message, ctx: Context) -> Message:
        o = self.options
        url = self.url.fill(message)
        content, media = self._content(message)
        headers = {"content-type": o.content_type or media} | self.headers
        if o.idempotency_key:
            headers[o.idempotency_key] = f'"{_key(ctx.address, message, content)}"'
        try:
            answer = await self.client.request(
                o.method, url, headers=headers, content=content, timeout_s=o.timeout.seconds
            )
        except NoAnswer as error:
            if error.status is None:
                raise self._again(message, str(error), ctx) from error
            answer = Answer(error.status, {}, b"")  # what is missing of it changes nothing
        except ValueError as error:
            raise Reject("url", str(error)) from None
        status = answer.status
        if 200 <= status < 300 or status in o.also_done:
            ctx.connected(True)
            return message.derive(self._said(answer), at=ctx.now(), quality="good", fields=None)
        words = f"{place_of(url)}: the server answers {self._words(answer)}"
        if status in LATER or (status >= 500 and status not in NEVER):
            raise self._again(message, words, ctx, pause_ns(answer), there=status in LATER)
        ctx.connected(True)
        raise Reject("refused", words)

    def _again(self, message: Message, why: str, ctx: Context, pause: int = 0, *, there: bool = False) -> Exception:
        """What to raise for a message that is to be sent again. ``there``: the server works, but not now."""
        now, (first, since) = ctx.set_back + ctx.now(), getattr(self, "tried", (None, 0))
        patience = self.options.give_up_after
        if first is not message:
            self.tried = (message, now)  # it lasts from one open to the next
        elif patience is not None and now - since >= patience:
            return Reject("given-up", f"{why}; so it went on for {patience}")
        if not pause:
            return NotConnected(why)
        if pause > LONG_PAUSE:
            there, why = False, f"{why}; nothing is sent for {Duration(pause)}, as it asks"
        ctx.connected(there, why)
        return Retry(pause / SECOND, why)

    def _content(self, message: Message) -> tuple[bytes, str]:
        """The body, and what it is."""
        value = message.payload if self.body is None else self.body.fill(message)
        try:
            if isinstance(value, str):
                return value.encode(), "text/plain; charset=utf-8"
            if (place := not_finite(value)) is not None:
                raise Reject("body", f"{place or 'the payload'} is no finite number, which JSON cannot hold")
            return msgspec.json.encode(value), "application/json"
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise Reject("body", f"it cannot be written: {error}") from None

    def _words(self, answer: Answer) -> str:
        said = " ".join(self.unsaid.mask(answer.body[: 4 * SAID].decode("utf-8", "replace")).split())
        if len(said) > SAID:  # the half of a secret would not be found where the flow's secrets are masked
            said = WORD_AT_END.sub("", said[:SAID]) + "…"
        return status_in_words(answer.status) + (f": {said}" if said else "")

    def _said(self, answer: Answer) -> dict[str, JSON]:
        """The answer as a record. A body that is empty, too long or no text is left out."""
        record: dict[str, JSON] = {"status": answer.status}
        if not answer.body or len(answer.body) > MOST_KEPT:
            return record
        try:
            text = self.secrets.mask(answer.body.decode())
        except UnicodeDecodeError:
            return record
        body = _json(text) if "json" in answer.headers.get("content-type", "").lower() else MISSING
        return record | {"body": text if body is MISSING else body}


def _json(text: str) -> JSON:
    """MISSING for what is no JSON that a message can hold."""
    try:
        found = Answer(200, {}, text.encode()).json()
        return found if not_finite(found) is None else MISSING
    except ValueError:
        return MISSING


def _key(address: str, message: Message, content: bytes) -> str:
    """The same for every request that carries this message, also after a restart, and never that of another one: a
    position in a source may come again (packet numbers of MQTT do), so time and content belong to it."""
    about = msgspec.json.encode([address, message.root, message.path, message.at, message.key])
    return hashlib.sha256(about + b"\0" + content).hexdigest()[:32]
