"""merge against a model that looks at the whole list of what came, not at a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.message import FieldInfo
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND

SOURCES = ["a", "b", "c", "hand"]
FIELDS = ["x", "y"]
FRESH = 30 * SECOND


@dataclass(frozen=True)
class Saying:
    """A source says something of a field. Times in seconds: since the saying before, and relative to arrival."""

    wait: int
    source: str
    field: str
    value: int | None
    """None: a bad value."""
    shift: int


@dataclass(frozen=True)
class Heard:
    arrived: int
    saying: Saying

    @property
    def at(self) -> int:
        return self.arrived + self.saying.shift * SECOND

    @property
    def ahead(self) -> bool:
        return self.saying.shift > 5

    @property
    def by_hand(self) -> bool:
        return self.saying.source == "hand"

    @property
    def timeless(self) -> bool:
        """Without a time of its own: as new as its arrival."""
        return self.saying.shift == 0

    @property
    def since(self) -> int:
        return min(self.at, self.arrived)

    def trouble(self, now: int) -> str:
        if self.saying.value is None:
            return "bad"
        if self.ahead:
            return "uncertain"
        return "stale" if not self.by_hand and now >= self.since + FRESH else ""


def counted(heard: list[Heard], source: str, field: str) -> Heard | None:
    """What a source's word on a field is: the last one that no earlier word of it is newer than.

    Only times that the source gave itself are compared; what comes without one is news.
    """
    mine = [one for one in heard if (one.saying.source, one.saying.field) == (source, field)]
    word: Heard | None = None
    for one in mine:
        unreadable = word is not None and word.saying.value is None and word.timeless  # it holds back nothing
        if word is None or word.ahead or unreadable or one.timeless or one.at >= word.at:
            word = one
    return word


def expected(heard: list[Heard], field: str, prefer: list[str], manual: str, now: int) -> tuple[object, str, list[int]]:
    """(value, trouble, what is overridden) of one field at ``now``; ("unknown", …) when nobody spoke of it."""
    words = [word for source in SOURCES if (word := counted(heard, source, field))]
    if not words:
        return "unknown", "", []

    def liking(one: Heard) -> tuple[int, int, int, int]:
        source = one.saying.source
        place = prefer.index(source) if source in prefer else len(prefer)
        return (place, -one.since, -one.at, -heard.index(one))

    fresh = sorted((one for one in words if one.trouble(now) == ""), key=liking)
    hand = [one for one in fresh if one.by_hand]
    automatic = [one for one in fresh if not one.by_hand]
    if hand and (manual == "override" or not automatic):
        return hand[0].saying.value, "", [one.saying.value for one in automatic[:1] if one.saying.value is not None]
    if automatic:
        return automatic[0].saying.value, "", []
    known = [one for one in words if one.saying.value is not None] or words
    newest = max(known, key=lambda one: (one.since, one.at, heard.index(one)))
    return newest.saying.value, newest.trouble(now), []


sayings = st.builds(
    Saying,
    wait=st.sampled_from([0, 0, 1, 7, 10, 20, 30, 31]),
    source=st.sampled_from(SOURCES),
    field=st.sampled_from(FIELDS),
    value=st.none() | st.integers(0, 9) | st.integers(0, 9),
    shift=st.sampled_from([0, 0, 0, -1, -10, -29, -30, -60, 5, 6, 100]),
)
TEXT = """
flow: t
nodes:
  a: {{type: inject, once: true, payload: {{x: 0, y: 0}}}}
  b: {{type: inject, once: true, payload: {{x: 0, y: 0}}}}
  c: {{type: inject, once: true, payload: {{x: 0, y: 0}}}}
  hand: {{type: manual-in, fields: {{x: {{}}, y: {{}}}}}}
  m: {{type: merge, from: [a, b, c, hand], prefer: {prefer}, manual: {manual}, stale_after: 30s}}
"""


@settings(max_examples=60, deadline=None)
@given(
    st.lists(sayings, min_size=1, max_size=12),
    st.lists(st.sampled_from(SOURCES), unique=True),
    st.sampled_from(["fallback", "override"]),
)
def test_the_last_record_always_tells_what_the_model_says(
    said: list[Saying], prefer: list[str], manual: Literal["fallback", "override"]
) -> None:
    heard: list[Heard] = []

    def compare(rig: Rig) -> None:
        record = rig.out("m")[-1]
        meta = (record.meta or {}).get("overridden", {})
        for field in FIELDS:
            value, trouble, overridden = expected(heard, field, prefer, manual, rig.now)
            if value == "unknown":
                assert field not in record.payload
                assert field not in (record.fields or {})
                continue
            assert (record.payload.get(field), record.info(field).trouble(rig.now)) == (value, trouble), field
            assert meta.get(field, []) == overridden, field

    async def story(rig: Rig) -> None:
        for number, one in enumerate(said, 1):
            for _ in range(one.wait):  # every second, so that every timer on the way is looked at
                await rig.advance("1s")
                if heard:
                    compare(rig)
            inputs = len(rig.out("m"))
            heard.append(Heard(rig.now, one))
            info = FieldInfo(
                at=heard[-1].at,
                received_at=rig.now,
                source=one.source,
                origin="manual" if one.source == "hand" else "automatic",
                quality="bad" if one.value is None else "good",
            )
            payload = {} if one.value is None else {one.field: one.value}
            await rig.emit(one.source, payload, fields={one.field: info}, at=info.at)
            assert len(rig.out("m")) == inputs + 1, f"input {number} made no record"
            compare(rig)
        await rig.advance("10min")
        compare(rig)

    text = TEXT.format(prefer=f"[{', '.join(prefer)}]", manual=manual)
    run_flow(text, story, stubs=SOURCES)
