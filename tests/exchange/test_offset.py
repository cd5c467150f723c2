"""What a Date header says of another clock: never more than it proves."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.exchange.offset import date_of, offset_between
from flowrunner.units import SECOND, parse_instant
from tests.exchange.simulated import NOON

MILLISECONDS = st.integers(0, 5_000_000)
"""Of two months, as an instant after NOON."""


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("Mon, 02 Mar 2026 12:00:00 GMT", "2026-03-02T12:00:00Z"),
        ("Mon, 02 Mar 2026 13:00:00 +0100", "2026-03-02T12:00:00Z"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00Z"),
    ],
)
def test_a_date_is_read(date: str, at: str) -> None:
    assert date_of({"date": date}) == parse_instant(at)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"date": ""},
        {"date": "yesterday"},
        {"date": "2026-03-02T12:00:00Z"},
        {"date": "Mon, 02 Mar 2026 12:00:60 GMT"},
        {"date": "Mon, 02 Mar 2026 25:00:00 GMT"},
        {"date": "Mon, 02 Mar 2026 12:00:00"},
        {"date": "Mon, 02 Mar 99999 12:00:00 GMT"},
        {"date": "Fri, 31 Dec 9999 23:59:59 -2359"},
        {"date": "Mon, 02 Mar 2026 12:00:00 GMT", "age": "3"},
    ],
)
def test_what_is_no_date_says_nothing(headers: dict[str, str]) -> None:
    assert date_of(headers) is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    found = date_of({"date": text})
    assert found is None or isinstance(found, int)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))
def test_every_date_that_servers_write_is_read(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert date_of({"date": format_datetime(moment, usegmt=True)}) == parse_instant(moment.isoformat())


@given(sent=MILLISECONDS, there=MILLISECONDS, back=MILLISECONDS, ahead=st.integers(-(10**18), 10**18))
def test_the_offset_is_never_further_than_the_truth_and_off_by_no_more_than_the_time_on_the_way(
    sent: int, there: int, back: int, ahead: int
) -> None:
    """The peer's clock is ``ahead`` ns ahead; it is read ``there`` ms after we sent, and cut to the second."""
    first = NOON + sent * 1_000_000
    read = first + there * 1_000_000
    received = read + back * 1_000_000
    date = (read + ahead) // SECOND * SECOND
    found = offset_between(date, first, received)
    assert abs(found) <= abs(ahead)
    assert found == 0 or (found > 0) == (ahead > 0)
    assert abs(found - ahead) <= received - first + SECOND


@pytest.mark.parametrize(
    ("date_s", "sent_s", "received_s", "offset_ns"),
    [
        (0, 0.0, 0.0, 0),
        (0, 0.9, 0.9, 0),
        (0, 1.0, 1.0, -1),  # it showed less than 1 s, and ours showed 1 s
        (1, 0.9, 0.95, 50_000_000),
        (1, 0.9, 1.05, 0),
        (10, 0.0, 1.0, 9 * SECOND),
        (0, 10.0, 12.0, -9 * SECOND - 1),
        (0, 12.0, 10.0, -9 * SECOND - 1),  # ours stepped back between the two readings
    ],
)
def test_the_edges(date_s: int, sent_s: float, received_s: float, offset_ns: int) -> None:
    sent, received = (NOON + round(one * 1000) * 1_000_000 for one in (sent_s, received_s))
    assert offset_between(NOON + date_s * SECOND, sent, received) == offset_ns
