"""Recorded inputs: a CSV or JSON lines of what a node once sent."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flowrunner.errors import UsageError, did_you_mean
from flowrunner.fields import is_number
from flowrunner.message import JSON, Instant
from flowrunner.shape import Shape
from flowrunner.units import iso, parse_instant

TIME = "timestamp"
LARGEST = 256 * 1024 * 1024
"""Bytes of a file; a year of records of every minute has 40 MB as JSON lines."""


class Record(msgspec.Struct, frozen=True):
    """What was said at an instant. None: the source had no value."""

    at: Instant
    values: dict[str, JSON]
    place: str
    """``file:line``"""


def read(file: Path, node: str, shape: Shape) -> list[Record]:
    """The records in the order of time. ``shape``: what the node sends. UsageError names file and line."""
    try:
        if file.stat().st_size > LARGEST:
            raise UsageError(f"{file} is larger than {LARGEST // 1024 // 1024} MiB; cut it into a part that is needed")
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--data {node}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--data {node}: {file} is not UTF-8 text") from None
    lines = _objects(text, file) if text.lstrip().startswith("{") else _rows(text, file, node, shape)
    records: list[Record] = []
    known: set[str] = set()
    for number, at_text, values in lines:
        place = f"{file}:{number}"
        try:
            at = parse_instant(at_text)
        except ValueError as error:
            raise UsageError(f"{place}: {TIME}: {error}") from None
        if records and at < records[-1].at:
            raise UsageError(f"{place}: {iso(at)} comes after {iso(records[-1].at)}; sort the records by {TIME}")
        for name in values:
            if name not in known:
                _check_field(name, node, shape, place)
                known.add(name)
        records.append(Record(at, values, place))
    if not records:
        raise UsageError(f"{file}: there is no record in it")
    return records


def _check_field(name: str, node: str, shape: Shape, place: str) -> None:
    if not shape.open and name not in shape.fields:
        hint = did_you_mean(name, shape.fields) or f"it sends {', '.join(shape.fields)}"
        raise UsageError(f"{place}: {node} sends no field {name!r}; {hint}")


def _rows(text: str, file: Path, node: str, shape: Shape) -> Iterator[tuple[int, str, dict[str, JSON]]]:
    """CSV: numbers; an empty cell is no value."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        if TIME not in header:
            raise UsageError(f"{file}:1: there is no column {TIME!r}; the first line names the columns")
        doubles = [name for place, name in enumerate(header) if name in header[:place]]
        if doubles:
            raise UsageError(f"{file}:1: the column {doubles[0]!r} is there twice")
        names = [name for name in header if name != TIME]
        for name in names:
            _check_field(name, node, shape, f"{file}:1")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise UsageError(f"{file}:{rows.line_num}: {len(row)} columns, the first line has {len(header)}")
            cells = dict(zip(header, row, strict=True))
            place = f"{file}:{rows.line_num}"
            yield rows.line_num, cells[TIME], {name: _number(cells[name], f"{place}: {name}") for name in names}
    except csv.Error as error:
        raise UsageError(f"{file}:{rows.line_num}: {error}") from None


def _number(cell: str, place: str) -> float | int | None:
    text = cell.strip()
    if not text:
        return None
    try:
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        value = float("nan")
    if not is_number(value):
        hint = "; write a decimal point" if "," in text else ""
        raise UsageError(f"{place}: {text[:40]!r} is not a number{hint}")
    return value


def _objects(text: str, file: Path) -> Iterator[tuple[int, str, dict[str, JSON]]]:
    """JSON lines; null is no value, a field that is left out is not spoken of."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UsageError(f"{file}:{number}: this is not JSON: {error}") from None
        if not isinstance(found, dict) or not isinstance(found.get(TIME), str):
            raise UsageError(
                f'{file}:{number}: write an object with {TIME!r}, like {{"{TIME}": "2025-01-25T20:30:00Z"}}'
            )
        at = found.pop(TIME)
        for name, value in found.items():
            if isinstance(value, dict | list):
                raise UsageError(f"{file}:{number}: {name} is not a single value")
        yield number, at, found
