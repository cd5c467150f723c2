"""``/api/v1/dead-letters`` over a real server: read page by page, put back, dropped; and it survives a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from flowrunner.store.letters import OBSTACLES
from flowrunner.units import iso
from tests.end_to_end.living import Living, living

pytestmark = pytest.mark.anyio
PATH = "/api/v1/dead-letters"
FLOW = """
flow: letters
nodes:
  values: {type: http-in, route: POST /values, rate_limit: 10000/s}
  check: {type: filter, from: values, when: soc_percent < 30}
  level: {type: scale, from: values, fields: {level_m: {factor: 0.001}}}
  lines: {type: log, from: check}
"""
ANSWERED = """
flow: letters
nodes:
  values: {type: http-in, route: POST /values}
  answer: {type: http-response, from: values, headers: {x-soc: "{soc}"}}
"""
MENDED = FLOW.replace("soc_percent < 30", "soc < 30")


@asynccontextmanager
async def filled(folder: Path, count: int = 3) -> AsyncIterator[Living]:
    async with living(folder, text=FLOW) as flow:
        for number in range(count):
            await flow.http.post("/values", json={"soc": number})
        yield flow


async def listed(flow: Living, query: str = "") -> list[Any]:
    answer = await flow.http.get(f"{PATH}{query}")
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()
    return found


async def refused(answer: httpx2.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["error"], body["detail"]


async def until_left(flow: Living, ids: list[int]) -> None:
    async def so() -> bool:
        return [one["id"] for one in await listed(flow)] == ids

    await flow.until(so, f"{ids} are left")  # type: ignore[arg-type]  # it awaits what it is given


async def test_one_and_the_list_of_all(tmp_path: Path) -> None:
    async with filled(tmp_path) as flow:
        letters = await listed(flow, "?node=check")
        assert [one["id"] for one in letters] == sorted((one["id"] for one in letters), reverse=True)
        first = letters[-1]
        assert (await flow.get(f"{PATH}/{first['id']}")) == first
        message = first.pop("message")
        assert (message["payload"], message["source"]) == ({"soc": 0}, "values")
        assert first.pop("lineage").startswith("values@request:")
        assert first == {
            "id": first["id"], "at": first["at"], "flow": "letters", "node": "check", "code": "expression",
            "reason": "soc_percent is missing", "wire": "values.out", "attempts": 1, "standing": "kept",
            "hindrance": None, "answer": None,
        }  # fmt: skip


async def test_filters_and_pages(tmp_path: Path) -> None:
    async with filled(tmp_path, 10) as flow:
        everything = await listed(flow, "?limit=1000")
        assert len(everything) == len(await listed(flow, "?flow=letters&code=expression")) == 10
        assert await listed(flow, "?flow=other") == await listed(flow, "?node=lines") == []
        assert await listed(flow, f"?since={everything[3]['at'].replace('+', '%2B')}") == [
            one for one in everything if one["at"] >= everything[3]["at"]
        ]
        assert await listed(flow, f"?since={iso(2**62)}") == []
        pages, before = list[Any](), ""
        while page := await listed(flow, f"?limit=3{before}"):
            pages += page
            before = f"&before={page[-1]['id']}"
        assert pages == everything
        for nobody in ("check%27%20OR%201=1--", "%00", "%ed%a0%80"):
            assert await listed(flow, f"?node={nobody}") == []


async def test_a_wrong_parameter_is_named(tmp_path: Path) -> None:
    wrong = {
        "limit=0": "limit: '0' is not a whole number from 1 to 1000",
        "limit=1001": "limit: '1001' is not",
        "before=x": "before: 'x' is not",
        "before=-1": "before: '-1' is not",
        "since=today": "since: 'today' is not a time",
        "since=2025-01-25T00:00:00": "since: '2025-01-25T00:00:00' has no time zone",
    }
    async with living(tmp_path, text=FLOW) as flow:
        for query, detail in wrong.items():
            status, error, said = await refused(await flow.http.get(f"{PATH}?{query}"))
            assert (status, error, said.startswith(detail)) == (422, "value", True), said


async def test_put_back_it_goes_through_and_the_letter_goes(tmp_path: Path) -> None:
    async with filled(tmp_path, 3):
        pass
    async with living(tmp_path, text=MENDED) as flow:
        three, two, one = [letter["id"] for letter in await listed(flow)]
        answer = await flow.http.post(f"{PATH}/{two}/replay")
        assert (answer.status_code, answer.json()) == (200, {"done": [two], "refused": []})
        await until_left(flow, [three, one])
        answer = await flow.http.post(PATH, json={"action": "replay", "ids": [three, one, two, one]})
        assert answer.json() == {
            "done": [one, three], "refused": [{"id": two, "reason": f"there is no dead letter {two}"}],
        }  # fmt: skip
        await until_left(flow, [])
        assert [message.payload["soc"] for message in flow.seen["check"]] == [1, 0, 2]
        assert flow.seen["check"][0].lineage().startswith("values@request:")


async def test_rejected_again_it_counts(tmp_path: Path) -> None:
    async with filled(tmp_path, 1) as flow:
        ((number, attempts),) = [(one["id"], one["attempts"]) for one in await listed(flow)]
        assert attempts == 1
        await flow.http.post(f"{PATH}/{number}/replay")
        await until_left(flow, [number + 1])
        (again,) = await listed(flow)
        assert again["attempts"] == 2
        assert (await flow.http.get(f"{PATH}/{number}")).status_code == 404


async def test_what_cannot_be_put_back_says_why(tmp_path: Path) -> None:
    async with living(tmp_path, text=ANSWERED) as flow:
        await flow.http.post("/values", json={"soc": "two\nlines"})
        (letter,) = await listed(flow)
        assert letter["hindrance"] == OBSTACLES["at-most-once"]
        said = await refused(await flow.http.post(f"{PATH}/{letter['id']}/replay"))
        assert said == (409, "not-put-back", OBSTACLES["at-most-once"])
        (letter,) = await listed(flow)
        assert (letter["standing"], letter["answer"]) == ("kept", OBSTACLES["at-most-once"])


async def test_dropped_it_is_gone(tmp_path: Path) -> None:
    async with filled(tmp_path, 4) as flow:
        four, three, two, one = [letter["id"] for letter in await listed(flow)]
        answer = await flow.http.request("DELETE", f"{PATH}/{three}")
        assert (answer.status_code, answer.json()) == (200, {"done": [three], "refused": []})
        assert (await flow.http.request("DELETE", f"{PATH}/{three}")).status_code == 404
        answer = await flow.http.post(PATH, json={"action": "drop", "ids": [two, three, float(one)]})
        assert answer.json() == {
            "done": [one, two], "refused": [{"id": three, "reason": f"there is no dead letter {three}"}],
        }  # fmt: skip
        assert [letter["id"] for letter in await listed(flow)] == [four]
    async with living(tmp_path, text=FLOW) as flow:
        assert [letter["id"] for letter in await listed(flow)] == [four]


async def test_one_that_there_is_not(tmp_path: Path) -> None:
    async with filled(tmp_path, 1) as flow:
        for name in ("0", "99", "x", "-1", "1.0", "9" * 40, "%00", "１"):
            for method, path in (("GET", name), ("DELETE", name), ("POST", f"{name}/replay")):
                status, error, detail = await refused(await flow.http.request(method, f"{PATH}/{path}"))
                assert (status, error, detail[:26]) == (404, "unknown", "there is no dead letter '" + detail[25]), name
        assert len(await listed(flow)) == 1


async def test_a_wrong_wish_changes_nothing(tmp_path: Path) -> None:
    wrong: list[Any] = [
        {}, [], {"action": "drop"}, {"action": "drop", "ids": []}, {"action": "burn", "ids": [1]}, {"ids": [1]},
        {"action": "drop", "ids": ["1"]}, {"action": "drop", "ids": [0]}, {"action": "drop", "ids": [1], "x": 1},
        {"action": "drop", "ids": [*range(1, 1002)]}, {"action": "drop", "ids": [1.5]},
    ]  # fmt: skip
    async with filled(tmp_path, 1) as flow:
        for body in wrong:
            status, error, detail = await refused(await flow.http.post(PATH, json=body))
            assert (status, error, detail[:17]) == (422, "value", "the body must be "), body
        assert len(await listed(flow)) == 1


async def test_another_method_is_told_which_there_are(tmp_path: Path) -> None:
    async with living(tmp_path, text=FLOW) as flow:
        for path, methods in (("", "GET, HEAD, POST"), ("/1", "DELETE, GET, HEAD"), ("/1/replay", "POST")):
            answer = await flow.http.request("PUT", f"{PATH}{path}")
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)
