"""Keys made from fields: a message that has nothing there is refused, it does not join every site."""

from __future__ import annotations

import pytest

from flowrunner.fields import MAX_KEYS
from flowrunner.testing import Rig, run_flow

FLOW = """
flow: sites
nodes:
  rest: {type: http-in, route: POST /v, key: "{site}"}
  best: {type: merge, from: rest}
  status: {type: http-in, route: GET /v, reply_with: best}
"""


@pytest.mark.parametrize("body", [b'{"site": "", "t": 99}', b'{"site": null, "t": 99}', b'{"t": 99}'])
def test_no_key_is_no_site(body: bytes) -> None:
    async def story(rig: Rig) -> tuple[int, list[object]]:
        await rig.request("POST", "/v", b'{"site": "a", "t": 1}')
        await rig.request("POST", "/v", body)
        return sum(rig.errors("rest").values()), [message.payload["t"] for message in rig.out("best")]

    assert run_flow(FLOW, story) == (1, [1])


def test_the_newest_records_are_bounded() -> None:
    async def story(rig: Rig) -> dict[str, int]:
        context = rig.worker("best").ctx
        rig.worker("status").node.keys.update(f"site-{number}" for number in range(MAX_KEYS - 2))  # type: ignore[attr-defined]  # the type's own
        for number in range(5):
            await context.emit(context.message({"t": 1}, position=str(number), key=str(number)))
        await rig.settle()
        return rig.errors("status")

    assert run_flow(FLOW, story) == {"too-many-keys": 3}
