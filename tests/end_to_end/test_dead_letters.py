"""What a node rejects and nobody takes is not lost: a person can read it by the API, after a restart too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.living import living

pytestmark = pytest.mark.anyio

FLOW = """
flow: letters
nodes:
  values: {type: http-in, route: POST /values}
  check: {type: filter, from: values, when: soc_percent < 30}
  lines: {type: log, from: check}
"""


async def test_they_can_be_read(tmp_path: Path) -> None:
    async with living(tmp_path, text=FLOW) as flow:
        assert (await flow.http.post("/values", json={"soc_percent": 20})).status_code == 200
        assert await flow.get("/api/v1/dead-letters") == []
        assert (await flow.http.post("/values", json={"soc": 20})).status_code == 200
        (letter,) = await flow.get("/api/v1/dead-letters")
        assert (letter["flow"], letter["node"], letter["code"]) == ("letters", "check", "expression")
        assert letter["message"]["payload"] == {"soc": 20}
        assert await flow.get("/api/v1/dead-letters?flow=other") == []
    async with living(tmp_path, text=FLOW) as flow:
        assert len(await flow.get("/api/v1/dead-letters")) == 1
