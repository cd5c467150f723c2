"""``/api/v1/trading`` over a real server: the switch as it is, and who may turn it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowrunner.orders import STOP_FILE, Order, Switch
from tests.end_to_end.living import Living, living
from tests.peers.program import GOOD
from tests.web.site import Site, site

pytestmark = pytest.mark.anyio
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
KEY = "k" * 20
GOES_ON: dict[str, Any] = {"stopped": False, "since": None, "by": "", "reason": "", "held": []}
WORDS = {"by": "risk desk", "reason": "storm"}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Living]:
    async with living(tmp_path, text=GOOD) as running:
        yield running


async def post(engine: Living, what: str, body: Any = None, status: int = 200) -> Any:
    answer = await engine.http.post(f"/api/v1/trading/{what}", json={} if body is None else body)
    assert answer.status_code == status, answer.text
    return answer.json()


def steps(told: Any) -> list[tuple[bool, str, str]]:
    return [(one["stopped"], one["by"], one["reason"]) for one in told["steps"]]


async def test_stop_and_resume(engine: Living, tmp_path: Path) -> None:
    assert await engine.get("/api/v1/trading") == GOES_ON | {"steps": []}
    stopped = await post(engine, "stop", WORDS)
    assert (stopped["stopped"], stopped["by"], stopped["reason"]) == (True, "risk desk", "storm")
    assert TIME.fullmatch(stopped["since"])
    assert steps(stopped) == [(True, "risk desk", "storm")], "the journal has it when the answer comes"
    assert str(Switch(tmp_path).stopped) == f"trading is stopped since {stopped['since']} by risk desk: storm"
    refusal = engine.engine.trading.refusal("AT")
    assert refusal is not None
    assert await post(engine, "stop", {"by": "other"}) == stopped, "a second one leaves what the first one said"
    assert await engine.get("/api/v1/trading") == stopped
    goes = await post(engine, "resume", {"by": "shift lead"})
    assert goes == GOES_ON | {"steps": goes["steps"]}
    assert steps(goes) == [(False, "shift lead", ""), (True, "risk desk", "storm")]
    assert not (tmp_path / STOP_FILE).exists()
    assert engine.engine.trading.refusal("AT") is None


async def test_who_is_not_named_is_known_by_the_address(engine: Living) -> None:
    for body in ({}, {"by": ""}):
        assert (await post(engine, "stop", body))["by"] == "127.0.0.1"
        assert steps(await post(engine, "resume", body))[0] == (False, "127.0.0.1", "")


async def test_a_word_without_a_stop_is_kept(engine: Living) -> None:
    told = await post(engine, "resume", WORDS)
    assert told == GOES_ON | {"steps": told["steps"]}
    assert steps(told) == [(False, "risk desk", "storm")]


async def test_a_file_that_somebody_made_by_hand(engine: Living, tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).touch()
    told = await engine.get("/api/v1/trading")
    assert (told["stopped"], told["since"], told["by"]) == (True, None, "")
    assert told["reason"] == f"there is a file {tmp_path / STOP_FILE}"
    assert (await post(engine, "resume"))["stopped"] is False


async def test_the_latest_steps(engine: Living) -> None:
    book = engine.engine.trading.journal
    for number in range(30):
        await book.decide(lambda one, number=number: one.resumed(number, "me", str(number)))  # type: ignore[misc]  # mypy knows no defaults of lambdas
    told = await engine.get("/api/v1/trading")
    assert [one["reason"] for one in told["steps"]] == [str(number) for number in range(29, 9, -1)]
    assert told["steps"][0]["at"] == "1970-01-01T00:00:00.000Z"


# ---- what cannot be done -------------------------------------------------------------------------------------------


async def test_a_stop_that_cannot_be_kept_is_one_until_the_end(engine: Living, tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).symlink_to(tmp_path / "away" / "nothing")  # root, too, cannot write there
    told = await post(engine, "stop", WORDS, status=503)
    assert told["error"] == "stop-not-kept"
    assert told["detail"].startswith(f"trading is stopped in this process, but {tmp_path / STOP_FILE} cannot be made")
    now = await engine.get("/api/v1/trading")
    assert (now["stopped"], steps(now)) == (True, [(True, "risk desk", "storm")])
    assert engine.engine.trading.refusal("AT") is not None
    (tmp_path / STOP_FILE).unlink()
    assert await post(engine, "stop", {"by": "other"}) == now, "and then it is kept"
    assert Switch(tmp_path).stopped is not None


async def test_a_resume_that_cannot_be_done(engine: Living, tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).mkdir()
    told = await post(engine, "resume", WORDS, status=503)
    assert told["error"] == "still-stopped"
    assert "trading stays stopped; remove it by hand" in told["detail"]
    assert (await engine.get("/api/v1/trading"))["stopped"] is True


async def test_a_resume_that_cannot_be_written_down(engine: Living, tmp_path: Path) -> None:
    def full(sql: Any) -> None:
        (pages,) = sql.execute("PRAGMA page_count").fetchone()
        sql.execute(f"PRAGMA max_page_count = {pages}")
        (free,) = sql.execute("PRAGMA freelist_count").fetchone()
        assert free == 0

    await post(engine, "stop", WORDS)
    engine.engine.store.read(full)
    long = {"by": "x" * 100, "reason": "y" * 500}
    for _ in range(100):
        answer = await engine.http.post("/api/v1/trading/resume", json=long)
        if answer.status_code == 503:
            break
        assert answer.status_code in (200, 429)
        (tmp_path / STOP_FILE).touch()
    assert (answer.status_code, answer.json()["error"]) == (503, "still-stopped")
    assert "database or disk is full" in answer.json()["detail"]
    assert (tmp_path / STOP_FILE).exists()
    assert (await post(engine, "stop"))["stopped"] is True, "a stop needs no journal"


@pytest.mark.parametrize(
    "body",
    [
        {"why": "storm"}, {"reason": 1}, {"reason": None}, {"by": []}, [], "storm", None,
        {"reason": "x" * 501}, {"by": "x" * 101},
    ],
)  # fmt: skip
async def test_a_resume_with_a_wrong_body_does_nothing(web: Site, body: Any) -> None:
    answer = await web.post(json.dumps(body), "/api/v1/trading/resume")
    assert (answer.status_code, answer.json()["error"]) == (422, "value")
    assert "both may be left out" in answer.json()["detail"]
    assert (await web.http.get("/api/v1/trading")).json() == GOES_ON | {"steps": []}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400), (b"{", {}, 400), (b'{"by": "a", "by": "b"}', {}, 400), (b'{"by": "\\ud800"}', {}, 400),
        (b"{}", {"content_type": "text/plain"}, 415), (b'{"reason": "' + b"x" * 70_000 + b'"}', {}, 413),
    ],
)  # fmt: skip
async def test_the_guards_of_a_resume(web: Site, content: bytes, headers: dict[str, str], status: int) -> None:
    answer = await web.post(content, "/api/v1/trading/resume", **headers)
    assert answer.status_code == status, answer.text
    assert (await web.http.get("/api/v1/trading")).json() == GOES_ON | {"steps": []}


@pytest.mark.parametrize("what", ["stop", "resume"])
@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}, {"host": "evil.example"}]
)
async def test_pages_of_others_turn_nothing(web: Site, what: str, headers: dict[str, str]) -> None:
    assert (await web.post(b"{}", f"/api/v1/trading/{what}", **headers)).status_code == 403
    assert (await web.http.get("/api/v1/trading")).json() == GOES_ON | {"steps": []}


ADDRESS, LOST = "127.0.0.1", "(unreadable reason)"


FORMS = [
    (b"", ADDRESS, ""), (b"{}", ADDRESS, ""), (b'{"by": "me"}', "me", ""),
    (json.dumps({"reason": "x" * 501, "by": "y" * 101}).encode(), "y" * 100, "x" * 500),
    (b'{"reason": 7, "by": "me"}', "me", LOST), (b'{"reason": null, "by": []}', ADDRESS, LOST),
    (b'{"why": "storm", "by": "me"}', "me", LOST), (b'{"why": "storm", "reason": "rain"}', ADDRESS, "rain"),
    (b"[]", ADDRESS, LOST), (b"null", ADDRESS, LOST), (b"storm", ADDRESS, LOST), (b"{", ADDRESS, LOST),
    (b'{"by": "a", "by": "b"}', ADDRESS, LOST), (b'{"by": "\\ud800"}', ADDRESS, LOST), (b"\xff", ADDRESS, LOST),
    (b"[" * 4000, ADDRESS, LOST), (b'{"reason": "' + b"x" * 70_000 + b'"}', ADDRESS, LOST),
]  # fmt: skip


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/json; charset=latin1", None])
async def test_no_stop_fails_because_of_its_form(engine: Living, media: str | None) -> None:
    headers = {} if media is None else {"content-type": media}
    for content, by, reason in FORMS:
        answer = await engine.http.post("/api/v1/trading/stop", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["stopped"], told["by"], told["reason"]) == (True, by, reason)
        engine.engine.trading.switch.resume()


async def test_a_stop_whose_body_never_comes(engine: Living) -> None:
    """Neither side closes: it stops all the same, and says so."""
    _, writer = await asyncio.open_connection(engine.http.base_url.host, engine.http.base_url.port)
    writer.write(b"POST /api/v1/trading/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    switch = engine.engine.trading.switch
    await engine.until(lambda: switch.stopped is not None, "a stop")
    assert switch.stopped is not None
    assert (switch.stopped.by, switch.stopped.reason) == (ADDRESS, LOST)
    writer.close()


async def test_a_stop_during_a_resume_holds(engine: Living, tmp_path: Path) -> None:
    """A second person's, from another process, while the resume is being written down: it must not be ended."""
    await post(engine, "stop", WORDS)

    def meanwhile(sql: Any) -> None:
        sql.create_function("again", 0, lambda: str(Switch(tmp_path).stop(by="other", reason="fire", now=0)))
        sql.execute("CREATE TEMP TRIGGER meanwhile AFTER INSERT ON switch_steps WHEN NOT new.stopped"
                    " BEGIN SELECT again(); END")  # fmt: skip

    await engine.engine.store.submit(meanwhile)
    told = await post(engine, "resume", {"by": "shift lead"}, status=503)
    assert told["error"] == "still-stopped"
    assert "somebody stopped it meanwhile: trading is stopped since" in told["detail"]
    assert engine.engine.trading.refusal("AT") is not None
    await engine.engine.store.submit(lambda sql: sql.execute("DROP TRIGGER meanwhile"))
    assert (await post(engine, "resume"))["stopped"] is False


async def test_it_is_behind_the_key() -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": KEY}) as locked:
        for method, path in (("GET", ""), ("POST", "/stop"), ("POST", "/resume")):
            body: dict[str, str] | None = {} if method == "POST" else None
            for headers, status in (({}, 401), ({"x-api-key": KEY}, 200)):
                answer = await locked.http.request(method, f"/api/v1/trading{path}", json=body, headers=headers)
                assert answer.status_code == status
        assert (await locked.http.get("/api/v1/trading/stop", headers={"x-api-key": KEY})).status_code == 405


async def test_a_stop_is_never_too_fast() -> None:
    async with site() as running:
        for _ in range(50):
            assert (await running.post("{}", "/api/v1/trading/stop")).status_code == 200
        codes = [(await running.post("{}", "/api/v1/trading/resume")) for _ in range(50)]
        assert {one.status_code for one in codes} == {200, 429}
        assert next(one for one in codes if one.status_code == 429).headers["retry-after"] == "1"


# ---- metrics -------------------------------------------------------------------------------------------------------


FLOW = """
flow: site
market: {name: AT, slot: 15min, gate_closure: 5min}
nodes:
  tick: {type: inject, every: 1h, payload: 1}
  out: {type: log, from: tick}
"""


def an_order(id: str, market: str, state: Any) -> Order:  # noqa: A002  (the field's own word)
    return Order(
        id=id, market=market, delivery_start=10**18 + len(id), delivery_end=10**18 + 900, side="BUY", quantity_mwh=1.0,
        requested_mwh=1.0, limited_by="", limit_price_eur_mwh=None, order_type="LIMIT", time_in_force="GFD",
        flow="site", guard="guard", rule="buy", state=state, mode="live", created_at=1, updated_at=1, good_until=2,
        open_mwh=1.0,
    )  # fmt: skip


async def test_metrics() -> None:
    async with site(FLOW) as running:

        async def samples() -> dict[str, float]:
            text = (await running.http.get("/metrics")).text
            ours = [line for line in text.splitlines() if line.startswith(("flowrunner_trading", "flowrunner_orders"))]
            return {name: float(value) for name, _, value in (line.rpartition(" ") for line in ours)}

        def labelled(market: str, state: str) -> str:
            return f'flowrunner_orders{{market="{market}",state="{state}"}}'

        none = {"flowrunner_trading_stopped": 0.0, labelled("AT", "sending"): 0.0, labelled("AT", "unknown"): 0.0}
        assert await samples() == none, "a market without trouble says 0, so that an alert can be set on it"
        for id_, market, state in (
            ("a", "AT", "unknown"), ("ab", "AT", "unknown"), ("abc", "AT", "paper"), ("abcd", "AT", "accepted"),
            ("abcde", "DE", "sending"),
        ):  # fmt: skip
            one = an_order(id_, market, state)
            await running.engine.trading.journal.decide(lambda book, one=one: book.add(one, {}))  # type: ignore[misc]  # mypy knows no defaults of lambdas
        await running.post("{}", "/api/v1/trading/stop")
        assert await samples() == {
            "flowrunner_trading_stopped": 1.0, labelled("AT", "sending"): 0.0, labelled("AT", "unknown"): 2.0,
            labelled("DE", "sending"): 1.0, labelled("DE", "unknown"): 0.0,
        }  # fmt: skip


async def test_metrics_without_a_journal(tmp_path: Path) -> None:
    """A journal that cannot be read takes away its own numbers, and no others."""
    async with living(tmp_path, text=GOOD) as running:
        running.engine.store.read(lambda sql: sql.execute("ALTER TABLE orders RENAME TO lost"))
        text = (await running.http.get("/metrics")).text
        assert "flowrunner_trading_stopped 0.0" in text
        assert "flowrunner_node_ready" in text
        assert "flowrunner_orders" not in text
