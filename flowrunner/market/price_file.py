"""Prices in a CSV file: ``timestamp,price_eur_mwh``, one line for each market time unit, with the start of it."""

from __future__ import annotations

import csv
import io
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from flowrunner.market.prices import MOST_PRICES, BadPrices, Price, curve_of, number, spaced
from flowrunner.message import Instant
from flowrunner.units import parse_instant

HEADER = ["timestamp", "price_eur_mwh"]
SHIPPED = "shipped:"
"""Before the name of a file that comes with the program: ``shipped:DE-LU-2024.csv``."""
CREDIT = "Bundesnetzagentur | SMARD.de"
"""To be shown wherever shipped prices are."""
LARGEST = 16 * 1024 * 1024
"""Bytes of a file; a year of quarter-hours has one."""


def parse(body: bytes) -> list[Price]:
    """The prices of a file. BadPrices, with the line, for what is not understood; a time needs a zone.

    Each price is for the least distance between two times, see ``prices.spaced``: a line that is missing is a price
    that is missing.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadPrices("the file is not UTF-8 text") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    starts: list[Instant] = []
    values: list[float] = []
    try:
        first = next(rows, None)
        if first != HEADER:
            raise BadPrices(f"line 1: it must be {','.join(HEADER)!r}")
        for row in rows:
            if not row:
                continue
            where = f"line {rows.line_num}"
            if len(row) != len(HEADER):
                raise BadPrices(f"{where}: {len(row)} columns; {','.join(HEADER)} are two")
            if len(starts) == MOST_PRICES:
                raise BadPrices(f"{where}: more than {MOST_PRICES} prices in one file")
            try:
                starts.append(parse_instant(row[0]))
            except ValueError as error:
                raise BadPrices(f"{where}: {error}") from None
            values.append(number(row[1].strip(), where))
    except csv.Error as error:
        raise BadPrices(f"line {rows.line_num}: {error}") from None
    if not starts:
        raise BadPrices("there is no price in it")
    length = spaced(starts)
    return curve_of(Price(start, start + length, value) for start, value in zip(starts, values, strict=True))


def place(name: str) -> Traversable | Path:
    """Where a file is: a path, or ``shipped:NAME``. ValueError with the names when nothing of that name is shipped."""
    if not name.startswith(SHIPPED):
        return Path(name)
    folder = resources.files("flowrunner.market") / "data"
    wanted = name.removeprefix(SHIPPED)
    known = sorted(one.name for one in folder.iterdir() if one.name.endswith(".csv"))
    if wanted not in known:
        raise ValueError(f"{wanted!r} does not come with the program; {', '.join(known)} do")
    return folder / wanted


def read(name: str) -> list[Price]:
    """The prices of a file on disk, or of one that is shipped. BadPrices; OSError when it cannot be read."""
    with place(name).open("rb") as file:
        body = file.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise BadPrices(f"the file is larger than {LARGEST // 1024 // 1024} MiB")
    return parse(body)


class PriceFile:
    """A file that is read again and again, and parsed when it has changed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._seen: tuple[int, int] | None = None
        self._prices: list[Price] = []

    def read(self) -> list[Price]:
        """The prices as the file has them now. BadPrices; OSError when it cannot be read."""
        found = place(self.name)
        seen = (-1, -1)
        if isinstance(found, Path):
            status = found.stat()
            seen = (status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._prices, self._seen = read(self.name), seen
        return self._prices
