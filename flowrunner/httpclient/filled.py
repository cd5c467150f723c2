"""An address with places, ``https://host/{key}/values?at={at}``, filled so that no value leads elsewhere."""

from __future__ import annotations

import re
from urllib.parse import quote

from flowrunner.errors import Reject
from flowrunner.httpclient.address import check_url
from flowrunner.message import Message
from flowrunner.pick import MISSING
from flowrunner.template import Text, as_text, value_of

_FIXED = re.compile(r"https?://[^/?#{}]+(?=[/?])")
_STEPS = ("", ".", "..")
"""Values that are no step of a path, or one to another place, however they are quoted (RFC 3986, section 5.2.4)."""


class UrlText:
    """A parsed address. TemplateError as `Text`; ValueError with a sentence when it is none, and when a place stands in
    scheme, host or port: what a request carries is for one server."""

    def __init__(self, text: str) -> None:
        path, mark, query = text.partition("?")
        self._path, self._query = Text(path), Text(mark + query)
        self.plain = not (self._path.places or self._query.places)
        """Whether it is the same for every message."""
        if not self.plain and not _FIXED.match(text):
            raise ValueError("places may stand in the path and the query only, behind https://host/")
        self.sample = self._path.put_in(lambda name: "x") + self._query.put_in(lambda name: "x")
        """One of the addresses that it stands for."""
        check_url(self.sample)

    def fill(self, message: Message) -> str:
        """The address for ``message``, each value percent-encoded. Reject when it lacks a field, and for a value that
        would lead to another place on the server."""
        if self.plain:
            return self.sample
        path = self._path.put_in(lambda name: _quoted(name, message))
        for before, after in zip(self._path.text.split("/"), path.split("/"), strict=True):
            if after in _STEPS and after != before:
                raise Reject("url", f"{before} becomes {after!r}, which would lead to another address")
        return path + self._query.put_in(lambda name: _quoted(name, message))


def _quoted(name: str, message: Message) -> str:
    value = value_of(name, message)
    if value is MISSING:
        raise Reject("missing-field", f"the address needs {name!r}, which this message does not have")
    try:
        return quote(as_text(value), safe="")
    except UnicodeEncodeError:
        raise Reject("url", f"{name} holds a character that is no text (a lone surrogate)") from None
