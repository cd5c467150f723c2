"""http-response: the answer to the request that a message came from."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.http import Response, refusal
from flowrunner.message import JSON, Message
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import Template
from flowrunner.template import Text

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
OF_THE_SERVER = ("connection", "content-length", "date", "transfer-encoding", "upgrade")
"""Headers that say how an answer is sent, not what it says."""
WITHOUT_BODY = (204, 205, 304)


class HttpResponse(Node):
    """Answer the request that an http-in took; without ``body`` the answer is the payload."""

    example = """
        setpoint: {type: http-in, route: POST /api/bess/setpoint, body: {power_mw: {min: -5, max: 5, required: true}}}
        accepted:
          type: http-response
          from: setpoint
          status: 202
          body: "{power_mw} MW accepted"
    """

    class Options(NodeOptions):
        status: Annotated[int, Meta(ge=200, le=599, description="The status code.")] = 200
        headers: Annotated[dict[str, Template], Meta(description="Further headers, with {field} places.")] = {}
        body: Annotated[Template | dict[str, JSON] | None, Meta(description="Text with {field} places, or JSON.")] = (
            None
        )

    options: Options
    ports = ()
    self_contained = True
    side_effect = "at_most_once"

    def check(self) -> list[Fault]:
        o = self.options
        found = [
            Fault(f"headers.{name}", f"{name!r} cannot be the name of a header", "letters, digits and dashes")
            for name in o.headers
            if not HEADER_NAME.fullmatch(name)
        ]
        found += [
            Fault(f"headers.{name}", f"the server itself writes the header {name}", "leave it out")
            for name in o.headers
            if name.lower() in OF_THE_SERVER
        ]
        if o.status in WITHOUT_BODY and o.body is not None:
            found.append(Fault("body", f"an answer with status {o.status} has no body", "leave it out"))
        return found

    async def open(self, ctx: Context) -> None:
        body = self.options.body
        self.text = Text(body) if isinstance(body, str) else None
        self.headers = {name.lower(): Text(value) for name, value in self.options.headers.items()}

    def process(self, message: Message, ctx: Context) -> None:
        handle = (message.meta or {}).get("reply")
        if handle is None:
            raise Reject("no-request", "this message did not come from an http-in")
        try:
            response = self._response(message)
        except Reject:  # who asked hears at once that there is no answer; why is told here
            ctx.reply(str(handle), refusal(500, "internal", f"{self.id} could not make the answer; its log says why"))
            raise
        if not ctx.reply(str(handle), response):
            ctx.drop("nobody-waits")

    def _response(self, message: Message) -> Response:
        headers = {name: _header(name, text.fill(message)) for name, text in self.headers.items()}
        if self.options.status in WITHOUT_BODY:
            return Response(status=self.options.status, headers=headers)
        if self.text is not None:
            headers.setdefault("content-type", "text/plain; charset=utf-8")
            return Response(status=self.options.status, headers=headers, body=_utf8(self.text.fill(message)))
        headers.setdefault("content-type", "application/json")
        body = message.payload if self.options.body is None else self.options.body
        try:
            return Response(status=self.options.status, headers=headers, body=msgspec.json.encode(body))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise Reject("body", f"the payload cannot be written as JSON: {error}") from error


def _header(name: str, text: str) -> str:
    """A value cannot hold a line break, that would be a second header, nor what headers have no letters for."""
    if any(ord(char) < 32 or 127 <= ord(char) < 160 or ord(char) > 255 for char in text):
        raise Reject("header", f"the value of {name} holds a character that a header cannot carry")
    return text


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Reject("body", "the text holds half of a surrogate pair, which is no Unicode") from None
