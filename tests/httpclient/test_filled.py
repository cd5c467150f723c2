"""Addresses with places: whatever a value holds, it stays one step of the path or one value of the query."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowrunner.errors import Reject
from flowrunner.httpclient import UrlText, in_the_open, secrets_of, status_in_words
from flowrunner.message import JSON, Message
from flowrunner.template import Json, TemplateError

VALUES = st.text(max_size=20) | st.sampled_from(
    ["", ".", "..", "/", "a/b", "?", "#", "%2e%2e", "\\", "\r\n", "ü", "{x}"]
)


def message(payload: JSON) -> Message:
    return Message(payload=payload, at=0, received_at=0, source="a", key="north")


@given(site=VALUES, unit=VALUES)
@example(site=".", unit=".")
@example(site="..", unit="")
@example(site="%2e%2e", unit="/../")
def test_no_value_leads_elsewhere(site: str, unit: str) -> None:
    template = UrlText("https://me@host.example:8443/v1/{site}/{site}{unit}/x?at={unit}&n=1")
    about = message({"site": site, "unit": unit})
    if {site, site + unit} & {"", ".", ".."}:
        with pytest.raises(Reject, match=r"url: .* which would lead to another address"):
            template.fill(about)
        return
    filled = template.fill(about)
    parts = urlsplit(filled)
    assert (parts.scheme, parts.netloc) == ("https", "me@host.example:8443")
    assert [unquote(one) for one in parts.path.split("/")] == ["", "v1", site, site + unit, "x"]
    assert parse_qsl(parts.query, keep_blank_values=True) == [("at", unit), ("n", "1")]
    assert parts.fragment == ""
    asked = httpx2.URL(filled)  # and as the client reads it
    assert (asked.host, asked.raw_path.decode()) == ("host.example", f"{parts.path}?{parts.query}")


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(Reject, match="url: site holds a character that is no text"):
        UrlText("https://host.example/{site}").fill(message({"site": "\ud800"}))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{site}", "behind https://host/"),
        ("https://{site}/x", "behind https://host/"),
        ("https://a.{site}.example/x", "behind https://host/"),
        ("https://host.example{site}", "behind https://host/"),
        ("https://host.example:{site}/x", "behind https://host/"),
        ("{site}://host.example/x", "behind https://host/"),
        ("ftp://host.example/{site}", "behind https://host/"),
        ("ftp://host.example/x", "begins with http"),
        ("https://host.example/x#{site}", "no #fragment"),
        ("https://host.example/{si te}", "is not a place"),
    ],
)
def test_what_is_no_address(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        UrlText(text)


def test_an_address_without_places_stays_as_it_is() -> None:
    text = "https://host.example/a%2Fb/../c?x=%20"
    assert UrlText(text).fill(message({})) == text
    assert UrlText("https://host.example?at={key}").fill(message({})) == "https://host.example?at=north"


def test_a_field_that_is_missing_or_null() -> None:
    for payload in ({}, {"site": None}):
        with pytest.raises(Reject, match="missing-field: the address needs 'site'"):
            UrlText("https://host.example/{site}").fill(message(payload))


VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


@given(value=VALUE | st.lists(VALUE, max_size=3) | st.dictionaries(st.text(max_size=3), VALUE, max_size=3))
def test_a_text_that_is_only_a_place_becomes_its_value(value: JSON) -> None:
    form = Json({"a": ["{v}", 1, None, True], "b": {"c": "{v}"}, "{v}": "{{v}}"})
    if value is None:
        with pytest.raises(Reject, match="missing-field"):
            form.fill(message({"v": value}))
    else:
        found = form.fill(message({"v": value}))
        assert found == {"a": [value, 1, None, True], "b": {"c": value}, "{v}": "{v}"}
        assert type(found["b"]["c"]) is type(value)
    assert set(form.places) == {"v"}


def test_a_brace_that_is_no_place_in_json() -> None:
    with pytest.raises(TemplateError, match="is not a place"):
        Json({"a": [{"b": "{ v }"}]})


def test_headers_that_hold_secrets() -> None:
    headers = {"Authorization": "Bearer x", "X-Api-Key": "k", "Cookie": "", "Accept": "text/html"}
    assert secrets_of(headers) == {"Authorization": "Bearer x", "X-Api-Key": "k"}
    assert in_the_open("http://10.0.0.1/x", headers) == "Authorization"
    assert in_the_open("http://10.0.0.1/x", {"Accept": "text/html"}) == ""
    assert in_the_open("http://me:pw@10.0.0.1/x", {}) == "the password in the address"
    for safe in ("https://10.0.0.1/x", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]/x"):
        assert in_the_open(safe, headers) == ""


def test_a_status_in_words() -> None:
    assert status_in_words(404) == "404 Not Found"
    assert status_in_words(403) == "403 Forbidden; check the key"
    assert status_in_words(799) == "799"
    assert status_in_words(301).endswith("write the address it has moved to")
