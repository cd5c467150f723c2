"""/metrics, read by Prometheus' own parser."""

from __future__ import annotations

import logging
import os

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowrunner.stderr import Stderr
from flowrunner.store.letters import mark_letters, write_letters
from tests.web.site import Site, site

pytestmark = pytest.mark.anyio


async def scrape(web: Site) -> dict[tuple[str, str, str], float]:
    """(sample, node, code or reason) → value."""
    answer = await web.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (one.name, one.labels.get("node", ""), one.labels.get("code", one.labels.get("reason", ""))): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


async def test_counters_of_every_node() -> None:
    async with site() as web:
        before = await scrape(web)
        assert before["flowrunner_node_sent_total", "rest", ""] == 0
        await web.post('{"soc_percent": 1}')
        await web.post('{"soc_percent": 2}')
        await web.post('{"soc_percent": 200}')
        after = await scrape(web)
    assert after["flowrunner_node_sent_total", "rest", ""] == 2
    assert after["flowrunner_node_received_total", "record", ""] == 2
    assert after["flowrunner_node_dropped_total", "rest", "value"] == 1
    assert after["flowrunner_node_inbox_messages", "record", ""] == 0
    assert 0 <= after["flowrunner_node_last_message_age_seconds", "record", ""] < 10
    assert {node for name, node, _ in after if name == "flowrunner_node_ready"} == {"rest", "hand", "record", "status"}
    assert after["flowrunner_node_process_seconds_total", "record", ""] > 0
    assert ("flowrunner_node_last_message_age_seconds", "hand", "") not in after, "no message has no age"
    assert after["flowrunner_generation", "", ""] == 1


PICKY = """
flow: site
nodes:
  rest: {type: http-in, route: POST /values, rate_limit: 100000/s}
  check: {type: filter, from: rest, when: soc_percent > 10}
"""


async def test_dead_letters() -> None:
    """Those that lie there, at once; not those that are on their way back. And those that nobody can see any more."""
    async with site(PICKY) as web:
        assert (await scrape(web))["flowrunner_dead_letters", "", ""] == 0
        for _ in range(3):
            await web.post('{"soc": 1}')
        await web.engine.runtime.drained()
        store = web.engine.store
        assert (await scrape(web))["flowrunner_dead_letters", "", ""] == 3
        await store.flush()
        await store.submit(lambda sql: mark_letters(sql, {1: ""}, "back"))
        (newest, *_) = store.dead_letters()
        await store.submit(lambda sql: write_letters(sql, [msgspec.structs.replace(newest, id=0)], 7))
        found = await scrape(web)
    assert found["flowrunner_dead_letters", "", ""] == 3
    assert found["flowrunner_dead_letters_dropped_total", "", ""] == 7


async def test_without_a_store_the_other_metrics_are_there(caplog: pytest.LogCaptureFixture) -> None:
    async with site(PICKY) as web:
        await web.engine.store.submit(lambda sql: sql.execute("ALTER TABLE dead_letters RENAME TO gone").fetchall())
        found = await scrape(web)
        await web.engine.store.submit(lambda sql: sql.execute("ALTER TABLE gone RENAME TO dead_letters").fetchall())
    assert found["flowrunner_generation", "", ""] == 1
    assert "flowrunner_dead_letters" not in {name for name, _, _ in found}
    assert "dead letters are left out of the metrics: cannot read" in caplog.text


async def test_lines_of_the_log_that_nobody_will_ever_see() -> None:
    reads, writes = os.pipe()
    async with site() as web:
        before = (await scrape(web))["flowrunner_log_lines_lost_total", "", ""]
        with os.fdopen(writes, "w") as stream:
            log, gone = logging.getLogger(), Stderr(stream)
            os.close(reads)
            log.addHandler(gone)
            try:
                for _ in range(3):
                    gone.handle(logging.makeLogRecord({"msg": "hello?"}))
                await web.until(lambda: gone.lost >= 3, "they are given up")
                after = (await scrape(web))["flowrunner_log_lines_lost_total", "", ""]
            finally:
                log.removeHandler(gone)
    assert after - before >= 3


async def test_labels_are_escaped() -> None:
    async with site() as web:
        counters = web.engine.runtime.workers["site/rest"].counters
        counters.errors['say "no"\n\\ ä'] = 3
        found = await scrape(web)
    assert found["flowrunner_node_errors_total", "rest", 'say "no"\n\\ ä'] == 3
