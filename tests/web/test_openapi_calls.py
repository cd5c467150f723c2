"""The API is called as its description says, with good and with bad data: what comes back must be as described."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.calling import call, strict
from tests.web.site import site

pytestmark = pytest.mark.anyio
BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"
SPEED = 10_000.0  # of flow time: else the limits on entries and wrong keys would answer for everything else
KEY = "k" * 20
NOBODY = {"EXCHANGE_URL": "http://127.0.0.1:9"}  # the discard port: bess.yaml's exchange is away
KEYS = {"FLOWRUNNER_API_KEY": KEY, "SITE_KEY": KEY}
FLOW = """
flow: site
title: {en: All kinds of routes}
nodes:
  rest:
    type: http-in
    route: POST /values
    api_key: ${SITE_KEY:-}
    rate_limit: 100000/s
    body:
      soc_percent: {min: 0, max: 100, unit: "%", required: true}
      count: {type: integer}
      name: {type: text}
      on: {type: boolean}
    reply: {json: {status: OK, tries: [1, 2]}, accepted_as: data}
  plain: {type: http-in, route: PUT /plain, api_key: "${SITE_KEY:-}", rate_limit: 100000/s}
  pull: {type: http-in, route: GET /pull, api_key: "${SITE_KEY:-}", rate_limit: 100000/s}
  asked: {type: http-in, route: POST /asked, rate_limit: 100000/s, body: {power_mw: {min: -5, max: 5, required: true}}}
  told: {type: http-response, from: asked, status: 202, headers: {X-Power: "{power_mw}"}, body: "{power_mw} MW"}
  hand: {type: manual-in, fields: {soc_percent: {min: 0, max: 100}}, expires_after: 1h}
  record: {type: merge, from: [rest, hand], stale_after: 90s}
  status: {type: http-in, route: GET /status, api_key: "${SITE_KEY:-}", rate_limit: 100000/s, reply_with: record}
"""


async def every_answer_is_as_described(text: str, environment: dict[str, str], folder: Path, *options: str) -> str:
    async with site(text, environment=environment, speed=SPEED, folder=folder) as web:
        headers = {"X-API-KEY": KEY} if environment is KEYS else {}
        document = (await web.http.get("/api/v1/openapi.json", headers=headers)).json()
        url = str(web.http.base_url)
        return await call(url, strict(document, web.engine), folder, *options, headers=headers)


async def test_every_answer_is_as_described(tmp_path: Path) -> None:
    text = BESS.read_text("utf-8")
    report = await every_answer_is_as_described(text, NOBODY, tmp_path, "--max-examples", "3", "--seed", "1")
    assert "Operations:       0" not in report
    assert "Stateful" in report


@pytest.mark.slow  # the same with keys: another twelve seconds
async def test_and_so_it_is_with_keys_and_all_kinds_of_routes(tmp_path: Path) -> None:
    phases = ("--phases", "fuzzing,stateful", "--max-examples", "3", "--seed", "1")  # the long run has all
    await every_answer_is_as_described(FLOW, KEYS, tmp_path, *phases)


@pytest.mark.slow  # about a minute of examples, and every edge of every type with keys too
@pytest.mark.parametrize(
    ("text", "environment"), [(BESS.read_text("utf-8"), NOBODY), (FLOW, KEYS)], ids=["bess", "keys"]
)
async def test_it_stays_so_for_long(text: str, environment: dict[str, str], tmp_path: Path) -> None:
    await every_answer_is_as_described(text, environment, tmp_path, "--max-examples", "60")


async def test_a_description_that_is_wrong_is_found(tmp_path: Path) -> None:
    async with site() as web:
        document = strict((await web.http.get("/api/v1/openapi.json")).json(), web.engine)
        only = {"/health/live": document["paths"]["/health/live"]}
        only["/health/live"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "array"}
        with pytest.raises(AssertionError, match="violates schema"):
            await call(str(web.http.base_url), {**document, "paths": only}, tmp_path, "--phases", "coverage")
