"""Text with places: ``bess/{key}/soc`` filled from a message. ``{{`` and ``}}`` are literal braces.

Not Python's format language: a place is a field's name or ``key``, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec

from flowrunner.errors import Reject
from flowrunner.message import JSON, Message
from flowrunner.pick import MISSING
from flowrunner.units import iso

_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]", re.ASCII)
BUILT_IN = ("key", "at", "source", "payload", "topic", *(f"topic_{level}" for level in range(1, 10)))
"""Places that are no fields: the message's key, event time (ISO 8601), source node, payload as JSON; of messages
that came by MQTT the topic and its levels, counted from 1."""


class TemplateError(ValueError):
    """A brace that begins or ends no place; ``offset`` counts characters from 0."""

    def __init__(self, offset: int, message: str) -> None:
        self.offset = offset
        super().__init__(message)


class Text:
    """A parsed template. TemplateError when a brace stands alone."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.places: dict[str, int] = {}
        """Each name with the offset of its first place."""
        self._parts: list[str] = []  # literal, name, literal, name, … literal
        literal, at = "", 0
        for match in _PLACE.finditer(text):
            literal += text[at : match.start()]
            at = match.end()
            if match[0] in ("{{", "}}"):
                literal += match[0][0]
            elif match[1]:
                self._parts += [literal, match[1]]
                self.places.setdefault(match[1], match.start())
                literal = ""
            else:
                what = text[match.start() : text.find("}", match.start()) + 1] or match[0]
                raise TemplateError(match.start(), f"{what!r} is not a place")
        self._parts.append(literal + text[at:])

    def fill(self, message: Message, missing: str | None = None) -> str:
        """The text for ``message``. A field that it does not have: ``missing``, or Reject where that is not given."""
        return self.put_in(lambda name: _value(name, message, missing))

    def put_in(self, value: Callable[[str], str]) -> str:
        """The text with ``value(name)`` in each place."""
        if not self.places:
            return self._parts[0]
        parts = list(self._parts)
        for index in range(1, len(parts), 2):
            parts[index] = value(parts[index])
        return "".join(parts)

    @property
    def only(self) -> str:
        """The name of the place that is all of the text, or ""."""
        alone = len(self._parts) == 3 and not self._parts[0] and not self._parts[2]
        return self._parts[1] if alone else ""


def _value(name: str, message: Message, missing: str | None) -> str:
    found = value_of(name, message)
    if found is not MISSING:
        return as_text(found)
    if missing is not None:
        return missing
    raise _lacking(name)


def value_of(name: str, message: Message) -> JSON:
    """What a place stands for in ``message``; MISSING where it has nothing there."""
    record = message.payload if isinstance(message.payload, dict) else {"value": message.payload}
    if record.get(name) is not None:  # null is no value: it must not become the text "null"
        return record[name]
    if name == "key":
        return message.key
    if name == "at":
        return iso(message.at)
    if name == "source":
        return message.source
    if name == "payload":
        return message.payload
    topic = (message.meta or {}).get("topic")
    if name == "topic" and topic is not None:
        return str(topic)
    level = re.fullmatch(r"topic_([1-9][0-9]?)", name)
    if level and topic is not None and int(level[1]) <= str(topic).count("/") + 1:
        return str(topic).split("/")[int(level[1]) - 1]
    return MISSING


def _lacking(name: str) -> Reject:
    return Reject("missing-field", f"the text needs {name!r}, which this message does not have")


class Json:
    """JSON with places in its texts: ``{"soc": "{soc_percent}", "site": "battery {key}"}``. TemplateError as `Text`."""

    def __init__(self, value: JSON) -> None:
        self.places: dict[str, int] = {}
        """As `Text.places` has them, of all texts."""
        self._form = self._parsed(value)

    def _parsed(self, value: JSON) -> JSON:
        if isinstance(value, str):
            text = Text(value)
            self.places |= text.places
            return text
        if isinstance(value, dict):
            return {key: self._parsed(one) for key, one in value.items()}
        return [self._parsed(one) for one in value] if isinstance(value, list) else value

    def fill(self, message: Message) -> JSON:
        """The JSON for ``message``. A text that is only a place becomes its value: a number stays one. Reject for a
        field that the message does not have."""
        return _filled(self._form, message)


def _filled(form: JSON, message: Message) -> JSON:
    if isinstance(form, Text):
        if not form.only:
            return form.fill(message)
        found = value_of(form.only, message)
        if found is MISSING:
            raise _lacking(form.only)
        return found
    if isinstance(form, dict):
        return {key: _filled(one, message) for key, one in form.items()}
    return [_filled(one, message) for one in form] if isinstance(form, list) else form


def as_text(value: JSON) -> str:
    """A JSON value as text: text as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # one half of a surrogate pair, which JSON can only escape
        return json.dumps(value, separators=(",", ":"))
