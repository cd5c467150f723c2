"""/api/v1/openapi.json: valid, complete, made for the flows that run, and true of the refusals too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from jsonschema import Draft202012Validator
from starlette.routing import Route

from flowrunner import __version__
from flowrunner.web.app import make_app
from flowrunner.web.pages import every_page, statics
from flowrunner.web.pages.face import Face
from tests.web.site import FLOW, Site, site

pytestmark = pytest.mark.anyio
PATH = "/api/v1/openapi.json"
KEY = "k" * 20
METHODS = {"get", "post", "put", "patch", "delete"}


async def described(web: Site, **headers: str) -> Any:
    answer = await web.http.get(PATH, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    return answer.json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def walk(one: Any) -> Iterator[dict[str, Any]]:
    if isinstance(one, dict):
        yield one
    for below in one.values() if isinstance(one, dict) else one if isinstance(one, list) else ():
        yield from walk(below)


def schema(document: Any, path: str, method: str, status: int) -> Any:
    (media,) = document["paths"][path][method]["responses"][str(status)]["content"].values()
    return {**media["schema"], "components": document["components"]}


def check(document: Any, path: str, method: str, answer: httpx2.Response, status: int) -> Any:
    """The answer has the status and is as the document says of it."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    Draft202012Validator(schema(document, path, method, status)).validate(body)
    for name in document["paths"][path][method]["responses"][str(status)].get("headers", ()):
        assert name in answer.headers, f"{status} without {name}"
    return body


def ours_of_people(web: Site) -> set[tuple[str, str]]:
    """What browsers ask for people, and programs do not: pages, their files and the log-in."""
    face = Face(web.engine, hub=web.server.hub, people=web.server.people)
    return {
        *((page.path, "get") for page in every_page(face)),
        (statics.PATH, "get"), ("/login", "post"), ("/logout", "post"),
    }  # fmt: skip


# ---- the document itself -----------------------------------------------------------------------------------------


async def test_it_is_valid(web: Site) -> None:
    document = await described(web)
    schemathesis.openapi.from_dict(document).validate()  # by the schema of OpenAPI 3.1
    assert (document["openapi"], document["info"]["version"]) == ("3.1.1", __version__)
    assert [one["url"] for one in document["servers"]] == ["/"]


async def test_its_schemas_are_schemas_and_its_references_lead_somewhere(web: Site) -> None:
    document = await described(web)
    for one in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(one)
    for one in walk(document["paths"]):
        if "schema" in one:
            Draft202012Validator.check_schema(one["schema"])
    found = [one["$ref"] for one in walk(document) if "$ref" in one]
    assert {ref.removeprefix("#/components/schemas/") for ref in found} <= set(document["components"]["schemas"])
    assert len(found) > 20


async def test_every_route_of_the_program_is_described(web: Site) -> None:
    document = await described(web)
    app = make_app(web.engine, people=web.server.people, hosts=[])
    routes = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert all(isinstance(route, Route) for route in app.routes)
    assert routes - ours_of_people(web) <= {(path, method) for path, method, _ in operations(document)}


async def test_every_operation_says_what_it_does_takes_and_gives(web: Site) -> None:
    document = await described(web)
    tags = {one["name"] for one in document["tags"]}
    seen: list[str] = []
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert method in METHODS
        assert set(operation["tags"]) <= tags, where
        assert operation["summary"], where
        assert operation["description"], where
        assert "``" not in operation["description"], where
        assert all(one["description"] for one in operation["parameters"]), where
        named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, where
        for status, answer in operation["responses"].items():
            assert answer["description"], f"{where} {status}"
            assert all(media["schema"] for media in answer["content"].values()), f"{where} {status}"
        seen.append(operation["operationId"])
    assert len(set(seen)) == len(seen)


async def test_a_flow_route_is_described_from_its_options(web: Site) -> None:
    document = await described(web)
    operation = document["paths"]["/values"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["power_mw"] == {
        "type": "number", "format": "double", "minimum": -20, "maximum": 20, "description": "In MW.",
    }  # fmt: skip
    assert (body["schema"]["additionalProperties"], body["schema"]["minProperties"]) == (False, 1)
    Draft202012Validator(body["schema"]).validate(body["example"])
    given = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert given["status"] == {"const": "OK"}
    assert given["data"]["required"] == ["timestamp"]
    assert "100000/s" in operation["responses"]["429"]["description"]
    assert operation["security"] == []
    record = document["paths"]["/status"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert record["properties"]["soc_percent"] == {"type": ["number", "null"], "description": "In %."}
    assert record["properties"]["on"] == {"type": ["boolean", "null"]}


async def test_a_manual_node_has_its_own_fields(web: Site) -> None:
    document = await described(web)
    own = document["paths"]["/api/v1/flows/site/nodes/hand/values"]["post"]
    validator = Draft202012Validator(
        {**own["requestBody"]["content"]["application/json"]["schema"], "components": document["components"]}
    )
    assert validator.is_valid({"values": {"soc_percent": None}, "reason": "seen", "by": "me"})
    refused: list[dict[str, object]] = [
        {"values": {"soc_percent": 101}},
        {"values": {"soc": 1}},
        {"values": {}},
        {"value": 1},
        {},
    ]
    for wrong in refused:
        assert not validator.is_valid(wrong), wrong


async def test_it_is_made_once_for_what_runs_now() -> None:
    async with site() as web:
        first = (await web.http.get(PATH)).content
        assert "/status" in json.loads(first)["paths"]
        assert (await web.http.get(PATH)).content == first
        await web.engine.stop()  # it takes the flows' routes away
        later = json.loads((await web.http.get(PATH)).content)["paths"]
    assert "/status" not in later
    assert "/api/v1/flows" in later


# ---- keys --------------------------------------------------------------------------------------------------------


async def test_it_is_behind_the_key_and_says_which_routes_are() -> None:
    async with site(FLOW, environment={"FLOWRUNNER_API_KEY": KEY, "SITE_KEY": "another key of the flow"}) as web:
        document = await described(web, authorization=f"Bearer {KEY}")
        for headers in ({}, {"x-api-key": "another key of the flow"}):
            answer = await web.http.get(PATH, headers=headers)
            assert check(document, PATH, "get", answer, 401)["error"] == "unauthorized"
        unlocked = {path for path, _, operation in operations(document) if not operation["security"]}
        assert unlocked == {"/health/live", "/health/ready"}
        assert document["paths"]["/values"]["post"]["security"] == [{"SITE_KEY": []}]
        assert set(document["components"]["securitySchemes"]) == {"key", "bearer", "SITE_KEY"}
        check(document, "/status", "get", await web.http.get("/status", headers={"x-api-key": KEY}), 401)
    text = json.dumps(document)
    assert KEY not in text
    assert "another key" not in text


async def test_without_a_key_nothing_is_locked(web: Site) -> None:
    document = await described(web)
    assert document["components"]["securitySchemes"] == {}
    assert "401" not in document["paths"]["/api/v1/flows"]["get"]["responses"]


# ---- a reload ----------------------------------------------------------------------------------------------------

OPENS = '''
from flowrunner.node import Node

class Opens(Node):
    """Does not open when it must not."""

    class Options(Node.Options):
        opens: bool = True

    async def open(self, ctx):
        if not self.options.opens:
            raise RuntimeError("it is stuck")

    def process(self, message, ctx):
        return message
'''


async def test_a_reload_is_as_described_whatever_comes_of_it(tmp_path: Path) -> None:
    (tmp_path / "opens.py").write_text(OPENS)
    own = FLOW + "  door: {type: opens, from: record}\n"
    path = "/api/v1/reload"
    async with site(own, folder=tmp_path, nodes=[tmp_path], speed=100.0) as web:
        document = await described(web)

        async def reload(text: str, status: int) -> Any:
            (tmp_path / "site.yaml").write_text(text)
            return check(document, path, "post", await web.http.post(path), status)

        assert (await reload(own, 200))["result"] == "unchanged"
        assert (await reload(own.replace("POST /values", "POST /other"), 200))["result"] == "applied"
        assert {"/values", "/other"} & set((await described(web))["paths"]) == {"/other"}
        assert (await reload(own.replace("90s", "long"), 422))["error"] == "refused"
        assert (await reload(own.replace("type: opens", "type: opens, opens: false"), 409))["error"] == "failed"
        problems = "/api/v1/problems"
        (problem,) = check(document, problems, "get", await web.http.get(problems), 200)
        assert problem["of"] == "newer"
        config = "/api/v1/config"
        assert check(document, config, "get", await web.http.get(config), 200)["last_reload"]["result"] == "failed"
        assert check(document, path, "post", await web.http.post(path, content=b"x"), 400)["error"] == "body"
        answers = await asyncio.gather(*(web.http.post(path) for _ in range(20)))
        answer = next(one for one in answers if one.status_code == 429)
        assert check(document, path, "post", answer, 429)["error"] == "too-fast"


async def test_where_there_are_no_files_there_is_nothing_to_reload(web: Site) -> None:
    assert "/api/v1/reload" not in (await described(web))["paths"]
    assert (await web.http.post("/api/v1/reload")).status_code == 404


# ---- refusals are as described -----------------------------------------------------------------------------------

ENTER = "/api/v1/flows/site/nodes/hand/values"
JSON = "application/json"


@pytest.mark.parametrize(
    ("path", "body", "media", "status", "code"),
    [
        (ENTER, "[", JSON, 400, "not-json"),
        (ENTER, "x" * 65_537, JSON, 413, "too-large"),
        (ENTER, "{}", "text/plain", 415, "media-type"),
        (ENTER, '{"values": {"soc_percent": 101}}', JSON, 422, "value"),
        ("/values", "[", JSON, 400, "not-json"),
        ("/values", "x" * 65_537, JSON, 413, "too-large"),
        ("/values", "{}", "text/plain", 415, "media-type"),
        ("/values", '{"soc_percent": 101, "name": 3}', JSON, 422, "value"),
    ],
)
async def test_a_wrong_body(web: Site, path: str, body: str, media: str, status: int, code: str) -> None:
    document = await described(web)
    refused = check(document, path, "post", await web.post(body, path, content_type=media), status)
    assert refused["error"] == code
    if (path, status) == ("/values", 422):
        assert [one["field"] for one in refused["fields"]] == ["soc_percent", "name"]


@pytest.mark.parametrize(
    ("called", "path", "status", "code"),
    [
        ("/api/v1/flows/nobody", "/api/v1/flows/{flow}", 404, "unknown"),
        ("/api/v1/flows/site/nodes/nobody", "/api/v1/flows/{flow}/nodes/{node}", 404, "unknown"),
        ("/status?key=nobody", "/status", 404, "unknown-key"),
        ("/status?key=a&key=b", "/status", 400, "query"),
        ("/api/v1/dead-letters?flow=a&flow=b", "/api/v1/dead-letters", 400, "query"),
    ],
)
async def test_a_wrong_address(web: Site, called: str, path: str, status: int, code: str) -> None:
    document = await described(web)
    assert check(document, path, "get", await web.http.get(called), status)["error"] == code


async def test_too_many_entries() -> None:
    async with site() as web:
        document = await described(web)
        for _ in range(50):
            answer = await web.post('{"values": {"soc_percent": 50}}', ENTER)
            if answer.status_code != 200:
                break
            check(document, ENTER, "post", answer, 200)
    assert check(document, ENTER, "post", answer, 429)["error"] == "too-fast"


async def test_another_method_is_refused_with_the_methods_that_are_described(web: Site) -> None:
    document = await described(web)
    refusal = {**document["components"]["schemas"]["Refusal"], "components": document["components"]}
    for path, item in document["paths"].items():
        called = path.replace("{flow}", "site").replace("{node}", "hand")
        answer = await web.http.request("PATCH", called)
        assert answer.status_code == 405, path
        assert set(answer.headers["allow"].lower().split(", ")) - {"head"} == set(item), path
        Draft202012Validator(refusal).validate(answer.json())
