"""/metrics, read by Prometheus' own parser."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

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


async def test_labels_are_escaped() -> None:
    async with site() as web:
        counters = web.engine.runtime.workers["site/rest"].counters
        counters.errors['say "no"\n\\ ä'] = 3
        found = await scrape(web)
    assert found["flowrunner_node_errors_total", "rest", 'say "no"\n\\ ä'] == 3
