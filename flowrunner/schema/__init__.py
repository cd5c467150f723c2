"""From typed options to JSON Schema, and from a part of a flow file to checked data."""

from flowrunner.schema.check import Bound, Form, Ref, bind
from flowrunner.schema.types import (
    Amount,
    Condition,
    FieldName,
    Formula,
    InputName,
    KeyTemplate,
    NodeName,
    OriginName,
    Secret,
    Template,
    VerdictName,
    WatchedName,
    decode,
)
from flowrunner.schema.walk import describe, schema_of

__all__ = [
    "Amount",
    "Bound",
    "Condition",
    "FieldName",
    "Form",
    "Formula",
    "InputName",
    "KeyTemplate",
    "NodeName",
    "OriginName",
    "Ref",
    "Secret",
    "Template",
    "VerdictName",
    "WatchedName",
    "bind",
    "decode",
    "describe",
    "schema_of",
]
