"""Every answer of a flow's routes, over a real socket: its status, its exact body, and what the flow took."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.web.site import Site, site

pytestmark = pytest.mark.anyio
STAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def problem(*fields: tuple[str, str]) -> dict[str, Any]:
    """The body of a 422."""
    details = [{"field": field, "message": message} for field, message in fields]
    return {"error": "value", "detail": "; ".join(message for _, message in fields), "fields": details}


# ---- taken -----------------------------------------------------------------------------------------------------


async def test_a_part_of_the_fields_is_enough(web: Site) -> None:
    answer = await web.post('{"soc_percent": 75.5}')
    assert answer.status_code == 200
    body = answer.json()
    assert STAMP.fullmatch(body["data"].pop("timestamp"))
    assert body == {"status": "OK", "message": "taken", "data": {"soc_percent": 75.5}}
    assert answer.headers["content-type"] == "application/json"
    assert web.record["soc_percent"] == 75.5


async def test_every_type(web: Site) -> None:
    sent = {"soc_percent": 0, "power_mw": -20, "count": 2**64 - 1, "name": "Süd\u0000\U0001f50b", "on": False}
    answer = await web.http.post("/values", json=sent)
    assert answer.status_code == 200
    assert web.record == sent
    assert {name: type(value) for name, value in web.record.items()} == {
        name: type(value) for name, value in sent.items()
    }


@pytest.mark.parametrize(
    "media",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
async def test_ways_to_say_json(web: Site, media: str) -> None:
    assert (await web.post('{"soc_percent": 1}', content_type=media)).status_code == 200


async def test_the_units_of_the_file_travel_with_the_values(web: Site) -> None:
    await web.post('{"soc_percent": 50, "count": 3}')
    fields = (await web.http.get("/status")).json()["fields"]
    assert (fields["soc_percent"]["unit"], fields["count"].get("unit")) == ("%", None)


# ---- refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"soc_percent": "75"}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": true}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": null}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": [1]}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": 100.1}', [("soc_percent", "soc_percent: 100.1 is above 100 %")]),
        ('{"soc_percent": -1e-9}', [("soc_percent", "soc_percent: -1e-09 is below 0 %")]),
        ('{"power_mw": 63.036}', [("power_mw", "power_mw: 63.036 is above 20 MW")]),
        ('{"soc_percent": NaN}', [("soc_percent", "soc_percent must be a finite number")]),
        ('{"soc_percent": -Infinity}', [("soc_percent", "soc_percent must be a finite number")]),
        ('{"soc_percent": 1e999}', [("soc_percent", "soc_percent must be a finite number")]),
        ('{"count": 1.5}', [("count", "count must be an integer")]),
        ('{"count": 1e300}', [("count", "count must be an integer")]),
        ('{"count": true}', [("count", "count must be an integer")]),
        ('{"count": 18446744073709551616}', [("count", "count must be an integer")]),
        ('{"name": 7}', [("name", "name must be a text")]),
        ('{"on": 1}', [("on", "on must be a boolean")]),
        ('{"on": "true"}', [("on", "on must be a boolean")]),
        ('{"voltage": 1}', [("voltage", "voltage is not a field here")]),
        ('{"soc-percent": 1}', [("soc-percent", "soc-percent is not a field here, did you mean 'soc_percent'?")]),
        ('{"": 1}', [("", " is not a field here")]),
        (
            '{"soc_percent": "x", "power_mw": 21, "count": 1}',
            [("soc_percent", "soc_percent must be a number"), ("power_mw", "power_mw: 21 is above 20 MW")],
        ),
        ("{}", [("", "the body has no field; known: soc_percent, power_mw, count, name, on")]),
        ("[]", [("", "the body must be an object with fields; known: soc_percent, power_mw, count, name, on")]),
        ("75.5", [("", "the body must be an object with fields; known: soc_percent, power_mw, count, name, on")]),
        ("null", [("", "the body must be an object with fields; known: soc_percent, power_mw, count, name, on")]),
    ],
)  # fmt: skip
async def test_wrong_values_are_named_and_nothing_is_taken(web: Site, body: str, fields: list[tuple[str, str]]) -> None:
    before, refused = web.record, web.dropped("rest").get("value", 0)
    answer = await web.post(body)
    assert (answer.status_code, answer.json()) == (422, problem(*fields))
    assert web.record is before
    assert web.dropped("rest")["value"] == refused + 1


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not JSON: Expecting value at line 1, column 1"),
        (b'{"soc_percent": 75.5', "the body is not JSON: Expecting ',' delimiter at line 1, column 21"),
        (b"soc_percent=75.5", "the body is not JSON: Expecting value at line 1, column 1"),
        (b'{"soc_percent": 1} {}', "the body is not JSON: Extra data at line 1, column 20"),
        (b'{"name": "\xe4"}', "the body is not UTF-8 text"),
        (b'{"name": "\\ud800"}', "the body has a text that is no Unicode: one half of a surrogate pair"),
        (b'{"\\udfff": 1}', "the body has a text that is no Unicode: one half of a surrogate pair"),
        (b'{"soc_percent": 1, "soc_percent": 2}', "the body has the key 'soc_percent' twice"),
        (b'{"x": ' + b"[" * 65 + b"]" * 65 + b"}", "the body is nested too deep: more than 64 levels"),
        (b"[" * 60_000, "the body is nested too deep"),
    ],
)
async def test_not_json(web: Site, body: bytes, detail: str) -> None:
    before = web.record
    answer = await web.post(body)
    assert (answer.status_code, answer.json()) == (400, {"error": "not-json", "detail": detail})
    assert web.record is before


async def test_thousands_of_wrong_fields_are_a_short_answer(web: Site) -> None:
    body = "{" + ",".join(f'"soc_percen{number}": 1' for number in range(3000)) + "}"
    answer = await web.post(body)
    assert answer.status_code == 422
    assert len(answer.json()["fields"]) == 20


async def test_a_huge_integer_is_a_number_out_of_range(web: Site) -> None:
    answer = await web.post('{"soc_percent": ' + "9" * 5000 + "}")
    assert (answer.status_code, answer.json()) == (422, problem(("soc_percent", "soc_percent must be a finite number")))
    answer = await web.post('{"soc_percent": ' + "9" * 30 + "}")
    assert answer.json() == problem(("soc_percent", "soc_percent: 1e+30 is above 100 %"))


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({"content_type": "text/plain"}, "send the body as application/json"),
        ({"content_type": ""}, "send the body as application/json"),
        ({"content_type": "application/x-www-form-urlencoded"}, "send the body as application/json"),
        ({"content_type": "text/plain; application/json"}, "send the body as application/json"),
        ({"content_type": "application/json; charset=iso-8859-1"}, "send the body in UTF-8"),
        ({"content_encoding": "gzip"}, "send the body without content-encoding"),
    ],
)
async def test_wrong_media(web: Site, headers: dict[str, str], detail: str) -> None:
    before = web.record
    answer = await web.post('{"soc_percent": 1}', **headers)
    assert (answer.status_code, answer.json()) == (415, {"error": "media-type", "detail": detail})
    assert web.record is before


async def test_too_large_by_its_declared_length_and_by_what_comes(web: Site) -> None:
    before = web.record
    body = b'{"name": "' + b"x" * 65_536 + b'"}'
    expected = {"error": "too-large", "detail": "the body is larger than 64KiB"}
    declared = await web.post(body)
    assert (declared.status_code, declared.json()) == (413, expected)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    chunked = await web.http.post("/values", content=pieces(), headers={"content-type": "application/json"})
    assert (chunked.status_code, chunked.json()) == (413, expected)
    assert web.record is before
    assert (await web.post(b'{"name": "' + b"x" * (65_536 - 12) + b'"}')).status_code == 200  # exactly 64 KiB


async def test_the_key() -> None:
    async with site(environment={"SITE_KEY": "correct horse ä"}) as web:
        missing = await web.post('{"soc_percent": 1}')
        assert (missing.status_code, missing.json()) == (
            401,
            {"error": "unauthorized", "detail": "the header X-API-KEY is missing"},
        )
        assert missing.headers["www-authenticate"] == "X-API-KEY"
        for wrong in (
            b"correct horse",
            b"correct horse \xc3\xa4\xc3\xa4",
            b"\xff\xfe",
            b"Correct horse \xc3\xa4",
        ):
            named = [(b"content-type", b"application/json"), (b"x-api-key", wrong)]
            answer = await web.http.post("/values", content=b'{"soc_percent": 1}', headers=named)
            assert answer.status_code == 401, wrong
            assert "horse" not in answer.text
        assert (await web.http.get("/status")).status_code == 401
        assert web.record is None
        right = [(b"content-type", b"application/json"), (b"x-api-key", "correct horse ä".encode())]
        assert (await web.http.post("/values", content=b'{"soc_percent": 1}', headers=right)).status_code == 200
        assert (await web.http.get("/status", headers=right[1:])).status_code == 200


async def test_guesses_are_limited_and_do_not_shut_out_who_has_the_key() -> None:
    async with site(environment={"SITE_KEY": "correct horse"}) as web:
        for number in range(30):
            named = {"content-type": "application/json", "x-api-key": f"guess {number}"}
            answer = await web.http.post("/values", content=b'{"soc_percent": 1}', headers=named)
        assert answer.status_code == 429
        assert answer.json()["detail"].startswith("at most 5 wrong keys a second")
        right = {"content-type": "application/json", "x-api-key": "correct horse"}
        assert (await web.http.post("/values", content=b'{"soc_percent": 1}', headers=right)).status_code == 200


async def test_a_key_that_nobody_asks_for_does_no_harm(web: Site) -> None:
    assert (await web.post('{"soc_percent": 1}', x_api_key="whatever")).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"), [('[1, {"a": NaN}]', "[1].a"), ("1e400", ""), ('{"a": [[-Infinity]]}', "a[0][0]")]
)
async def test_a_route_for_any_json_takes_no_number_that_is_none(body: str, field: str) -> None:
    text = "flow: site\nnodes:\n  any: {type: http-in, route: POST /any}\n  out: {type: log, from: any}\n"
    async with site(text) as web:
        answer = await web.post(body, "/any")
        assert (answer.status_code, answer.json()) == (
            422, problem((field, f"{field or 'the body'} must be a finite number")),
        )  # fmt: skip
        assert web.last("any") is None
        assert (await web.post('[1, "x", null, {"a": true}]', "/any")).status_code == 200
