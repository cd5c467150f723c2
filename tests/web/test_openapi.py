"""/api/v1/openapi.json: valid, complete, made for the flows that run, and true of the refusals too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from jsonschema import Draft202012Validator
from starlette.routing import Route

from flowrunner import __version__
from flowrunner.web.app import make_app
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
    app = make_app(web.engine, key="", hosts=[])
    routes = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert len(routes) == len(app.routes)
    assert routes <= {(path, method) for path, method, _ in operations(document)}


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
