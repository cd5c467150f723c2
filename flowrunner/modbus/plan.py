"""Which requests read a register map: neighbours together, no value ever torn in two; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from flowrunner.modbus.registers import BIT_TABLES, MAX_REGISTERS, Register, Table

MAX_BITS = 2000
"""The most coils or discrete inputs that one read may ask for (Modbus application protocol 1.1b3, 6.1)."""
MERGE_GAP = 8
"""Reading a few registers too many is cheaper than a request more: 16 bytes against a round trip."""


class Span(msgspec.Struct, frozen=True, order=True):
    """Where a value is: ``start`` on the wire, ``count`` registers (or bits) long."""

    start: int
    count: int
    name: str

    @property
    def end(self) -> int:
        return self.start + self.count


class Request(msgspec.Struct, frozen=True):
    """One read: ``count`` registers (or bits) of ``table`` from ``start``, and the values that it brings."""

    table: Table
    spans: tuple[Span, ...]
    """In the order of their addresses; never empty."""

    @property
    def start(self) -> int:
        return self.spans[0].start

    @property
    def end(self) -> int:
        return max(span.end for span in self.spans)

    @property
    def count(self) -> int:
        return self.end - self.start

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(span.name for span in self.spans)


def plan(
    registers: Mapping[str, Register], merge_gap: int = MERGE_GAP, max_registers: int = MAX_REGISTERS
) -> list[Request]:
    """The fewest requests, table by table and by rising address, that bring every register once.

    Two values share a request when at most ``merge_gap`` unwanted registers (or bits) lie between them and the
    request stays within ``max_registers`` (bits: 2000). ValueError when one value alone is longer;
    ``contradictions`` says so before.
    """
    tables: dict[Table, list[Span]] = {}
    for name, register in registers.items():
        tables.setdefault(register.table, []).append(Span(register.start, register.size, name))
    return [
        request
        for table, spans in tables.items()
        for request in _merged(table, sorted(spans), merge_gap, MAX_BITS if table in BIT_TABLES else max_registers)
    ]


def split(request: Request) -> list[Request]:
    """Smaller requests for the same values, after the device refused an address of this one (exception 2).

    First without the gaps, since what nobody asked for is the likeliest to be missing; then value by value. A
    request that cannot be split comes back alone. Values at the very same place stay together.
    """
    pieces = _merged(request.table, request.spans, 0, request.count)
    if len(pieces) > 1:
        return pieces
    places: dict[tuple[int, int], list[Span]] = {}
    for span in request.spans:
        places.setdefault((span.start, span.count), []).append(span)
    return [Request(request.table, tuple(spans)) for spans in places.values()]


def _merged(table: Table, spans: Iterable[Span], gap: int, longest: int) -> list[Request]:
    """``spans`` (sorted) in as few requests as ``gap`` and ``longest`` allow."""
    requests: list[Request] = []
    group: list[Span] = []
    end = 0
    for span in spans:
        if span.count > longest:
            raise ValueError(f"{span.name} takes {span.count} registers; a request may have {longest} at most")
        if group and (span.start - end > gap or max(end, span.end) - group[0].start > longest):
            requests.append(Request(table, tuple(group)))
            group = []
        end = max(end, span.end) if group else span.end
        group.append(span)
    if group:
        requests.append(Request(table, tuple(group)))
    return requests
