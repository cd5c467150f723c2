"""``POST /api/v1/reload`` while the program is being stopped: who asked is told so, and the log has no defect."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx2
import pytest

from tests.peers.program import Program
from tests.web.site import FLOW, site
from tests.web.test_openapi import check, described

SLOW = '''
import asyncio
import logging
from flowrunner.node import Node

class SlowToOpen(Node):
    """Never opens."""

    async def open(self, ctx):
        logging.getLogger("door").warning("the door opens")
        await asyncio.Event().wait()

    def process(self, message, ctx):
        return message
'''
OWN = FLOW + "  door: {type: slow-to-open, from: record}\n"
STOPPING = "this server stops; the reload had not come to its end before"
PATH = "/api/v1/reload"


@pytest.mark.anyio
async def test_a_reload_that_is_broken_off_is_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "slow_to_open.py").write_text(SLOW)
    async with site(folder=tmp_path, nodes=[tmp_path]) as web:
        document = await described(web)
        (tmp_path / "site.yaml").write_text(OWN)
        asked = asyncio.ensure_future(web.http.post(PATH))
        await web.until(lambda: "the door opens" in caplog.messages, "the reload is under way")
        await web.reloader.close(0.01)
        told = check(document, PATH, "post", await asked, 503)
        assert told == {"error": "stopping", "detail": STOPPING}
        assert (await asked).headers["retry-after"] == "5"
    assert not [one for one in caplog.records if one.exc_info]


@pytest.mark.slow  # waits out the patience of the server for open requests
def test_the_program_is_stopped_during_a_reload(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "slow_to_open.py").write_text(SLOW)
    flow = tmp_path / "site.yaml"
    flow.write_text(FLOW)
    with Program(flow, "--no-watch", "--grace", "1s", "--nodes", tmp_path / "nodes", data=tmp_path / "data") as program:
        flow.write_text(OWN)
        answers: list[httpx2.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx2.post(f"{program.url}{PATH}", trust_env=False, timeout=20))
        )
        asking.start()
        program.until("the door opens")
        program.end()
        asking.join()
        assert (answers[0].status_code, answers[0].json()["error"]) == (503, "stopping")
        assert "Traceback" not in "\n".join(program.lines)
