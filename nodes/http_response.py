"""http-response: the answer to the request that a message came from."""

from typing import Annotated

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.http import Response
from flowrunner.message import JSON, Message
from flowrunner.node import Context, Node, NodeOptions
from flowrunner.schema import Template
from flowrunner.template import Text


class HttpResponse(Node):
    """Answer the request that an http-in took; without ``body`` the answer is the payload."""

    class Options(NodeOptions):
        status: Annotated[int, Meta(ge=200, le=599, description="The status code.")] = 200
        headers: Annotated[dict[str, Template], Meta(description="Further headers, with {field} places.")] = {}
        body: Annotated[Template | dict[str, JSON] | None, Meta(description="Text with {field} places, or JSON.")] = (
            None
        )

    options: Options
    ports = ()
    side_effect = "at_most_once"

    async def open(self, ctx: Context) -> None:
        body = self.options.body
        self.text = Text(body) if isinstance(body, str) else None
        self.headers = {name: Text(value) for name, value in self.options.headers.items()}

    def process(self, message: Message, ctx: Context) -> None:
        handle = (message.meta or {}).get("reply")
        if handle is None:
            raise Reject("no-request", "this message did not come from an http-in")
        body: object = message.payload if self.options.body is None else self.options.body
        headers = {name: _one_line(text.fill(message)) for name, text in self.headers.items()}
        if self.text is not None:
            body = self.text.fill(message).encode()
            headers.setdefault("content-type", "text/plain; charset=utf-8")
        response = Response(status=self.options.status, body=body, headers=headers)
        if not ctx.reply(str(handle), response):
            ctx.drop("nobody-waits")


def _one_line(text: str) -> str:
    """A header's value cannot hold a line break: that would be a second header."""
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise Reject("header", "a header's value holds a control character")
    return text
