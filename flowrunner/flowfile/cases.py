"""The typed tests of a flow: ``tests:`` in its file, or in a file of their own beside it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from flowrunner.units import Duration

CASES_SUFFIX = ".test.yaml"
"""``bess.test.yaml`` has tests of ``bess.yaml``."""
ENVIRONMENT_NAME = r"^[A-Z_][A-Z0-9_]*$"
Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Variable = Annotated[str, Meta(pattern=ENVIRONMENT_NAME)]
Environment = dict[Variable, str | float | bool]


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must have happened. Without ``count``, ``equals`` and ``never``: at least one message."""

    from_: Annotated[
        Text | None, Meta(description="What left a node: its id, or id.port.", examples=["exchange", "guard.blocked"])
    ] = msgspec.field(name="from", default=None)
    into: Annotated[Text | None, Meta(description="What came into a node, by whatever wire.")] = None
    where: Annotated[Text | None, Meta(description="Only messages for which this expression is true count.")] = None
    count: Annotated[Count | None, Meta(description="Exactly so many.")] = None
    at_least: Annotated[Count | None, Meta(description="So many or more.")] = None
    at_most: Annotated[Count | None, Meta(description="So many or fewer.")] = None
    never: Annotated[bool, Meta(description="None at all.")] = False
    equals: Annotated[
        Any,
        Meta(
            description="The payload of the one message: of a record the fields that are named here. "
            "A list: the payloads of all messages, in order."
        ),
    ] = msgspec.UNSET
    within: Annotated[
        Duration | None,
        Meta(description="So soon after the last thing that was done; after the begin where nothing was done."),
    ] = None
    order: Annotated[
        Annotated[list[Text], Meta(min_length=2)] | None,
        Meta(description="Outputs (id or id.port) from which messages came, the first of each in this order."),
    ] = None


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is done, or waited for."""

    emit: Annotated[
        Text | None, Meta(description="A node (or id.port) sends a message, as if it had heard this value.")
    ] = None
    value: Annotated[Any, Meta(description="Of emit: what the node hears. A field that is null has no value.")] = (
        msgspec.UNSET
    )
    age: Annotated[Duration | None, Meta(description="Of emit: the value was true so long ago.")] = None
    ahead: Annotated[Duration | None, Meta(description="Of emit: its time lies so far in the future.")] = None
    quality: Annotated[Literal["good", "uncertain", "bad"] | None, Meta(description="Of emit: of all values.")] = None
    key: Annotated[str | None, Meta(description="Of emit: what the message is about (a site, a device).")] = None
    refused: Annotated[bool | None, Meta(description="Of emit: the node does not take this value.")] = None
    advance: Annotated[Duration | None, Meta(description="Let so much time pass.")] = None
    at: Annotated[str | None, Meta(description="Let time pass until then (ISO 8601 with a zone).")] = None
    stub: Annotated[dict[str, Any] | None, Meta(description="From now on these nodes answer otherwise.")] = None
    disconnect: Annotated[Text | None, Meta(description="The peer of this node goes away.")] = None
    reconnect: Annotated[Text | None, Meta(description="It is there again.")] = None
    restart: Annotated[bool | None, Meta(description="The program ends cleanly and begins again.")] = None
    reload: Annotated[
        bool | Environment | None,
        Meta(description="The file is read again; a map: with these variables of the environment changed."),
    ] = None
    expect: Annotated[list[Expectation] | None, Meta(description="What must have happened by now.")] = None


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test of a flow, in virtual time and without a network."""

    name: Annotated[str, Meta(min_length=1, max_length=120, description="What must hold, in a sentence.")]
    at: Annotated[
        str, Meta(description="When it begins (ISO 8601 with a zone).", examples=["2025-01-25T02:00:00+01:00"])
    ]
    env: Annotated[Environment, Meta(description="The environment. That of the machine does not count.")] = (
        msgspec.field(default_factory=dict)
    )
    stub: Annotated[
        dict[str, Any],
        Meta(
            description="Node → what it says or answers: a value, a list of values, accepts, silence, {rejects: 400}, "
            "{error: text}, {delay: 5s}. Other sources and sinks with a peer are cut off."
        ),
    ] = msgspec.field(default_factory=dict)
    steps: Annotated[list[Step | Literal["restart", "reload"]], Meta(description="What is done, in order.")] = (
        msgspec.field(default_factory=list)
    )
    expect: Annotated[list[Expectation], Meta(description="What must have happened at the end.")] = msgspec.field(
        default_factory=list
    )


class CasesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of tests: ``bess.test.yaml`` beside ``bess.yaml``."""

    env: Annotated[
        Environment, Meta(description="The environment of all its tests; that of a test comes before it.")
    ] = msgspec.field(default_factory=dict)
    tests: Annotated[list[Case], Meta(min_length=1, description="The tests.")]
