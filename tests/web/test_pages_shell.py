"""What stands around every page: policy, language, theme, navigation, words, data, and the pages that say one thing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.web.pages import MODULES, every_page
from flowrunner.web.pages import words as said
from flowrunner.web.pages.face import NOBODY, POLICY, Face, Page, asked_lang, data_block
from flowrunner.web.people import Person
from tests.web.site import Site, site

pytestmark = pytest.mark.anyio
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGES = ("/", "/events", "/system", "/flows/site", "/login")
TWO = """
flow: {name}
title: {{en: Power plant, de: Kraftwerk}}
timezone: Europe/Vienna
nodes:
  hand: {{type: manual-in, fields: {{soc_percent: {{min: 0, max: 100}}}}}}
"""


class Seen(HTMLParser):
    """Start tags with their attributes, and the text of scripts and of what has an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script" and dict(attrs).get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data

    def of(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found for name, found in self.tags if name == tag and all(found.get(k) == v for k, v in attributes.items())
        ]


async def seen(web: Site, path: str, **headers: str) -> Seen:
    return Seen((await web.http.get(path, headers=HTML | headers)).text)


def cookie(text: str) -> dict[str, str]:
    return {"cookie": text}


# ---- every page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/nothing/here"])
async def test_every_page_has_its_policy_and_is_never_kept(web: Site, path: str) -> None:
    answer = await web.http.get(path, headers=HTML)
    policy = answer.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([A-Za-z0-9_-]{16,})'", policy)
    assert nonce is not None
    assert policy == POLICY.format(nonce=nonce[1])
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                 "form-action 'self'", "require-trusted-types-for 'script'"):  # fmt: skip
        assert part in policy.split("; ")
    again = (await web.http.get(path, headers=HTML)).headers["content-security-policy"]
    assert again != policy  # a nonce is used once
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"  # else a form's Origin would be "null"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_can_be_walked_by_keyboard_and_screen_reader(web: Site, path: str) -> None:
    page = await seen(web, path)
    assert page.of("main", id="main")
    assert page.of("a", href="#main")[0]["class"] == "skip"
    assert len(page.of("h1")) == 1
    assert all(found.get("type") for found in page.of("button")), "a button without a type sends the form around it"
    assert page.of("meta", name="viewport")[0]["content"] == "width=device-width,initial-scale=1"
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", PAGES)
async def test_scripts_and_styles_come_from_here_and_are_there(web: Site, path: str) -> None:
    page = await seen(web, path)
    links = [found["href"] for found in page.of("link")] + [
        found["src"] for found in page.of("script") if "src" in found
    ]
    assert len(links) >= 4
    for link in links:
        assert link is not None
        assert link.startswith("/static/")
        answer = await web.http.get(link)
        assert answer.status_code == 200, link
        assert "immutable" in answer.headers["cache-control"]
    inline = [found for found in page.of("script") if "src" not in found]
    assert {found.get("type") for found in inline} <= {"application/json"}


async def test_the_place_where_one_is_is_marked(web: Site) -> None:
    for path, title in (("/", "Dashboard"), ("/flows/site", "Flow"), ("/events", "Events"), ("/system", "System")):
        page = await seen(web, path)
        marked = [found for found in page.of("a") if found.get("aria-current") == "page" and found.get("title")]
        assert [found["title"] for found in marked] == [title]


# ---- language and theme ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "lang"),
    [
        ({}, "en"),
        ({"accept-language": "de-AT,de;q=0.9,en;q=0.8"}, "de"),
        ({"accept-language": "en-GB,en;q=0.9,de;q=0.8"}, "en"),
        ({"accept-language": "fr, de;q=0.5, en;q=0.4"}, "de"),
        ({"accept-language": "de;q=0, en;q=0.1"}, "en"),
        ({"accept-language": "de;q=x"}, "en"),
        ({"accept-language": "den"}, "en"),
        ({"accept-language": "de", "cookie": "lang=en"}, "en"),
        ({"accept-language": "en", "cookie": "lang=de; theme=dark"}, "de"),
        ({"accept-language": "de", "cookie": "lang=xx"}, "de"),
        ({"cookie": 'lang="><script>"'}, "en"),
    ],
)
async def test_the_page_speaks_the_readers_language(web: Site, headers: dict[str, str], lang: str) -> None:
    answer = await web.http.get("/nothing", headers=HTML | headers)
    assert f'<html lang="{lang}"' in answer.text
    assert ("Hier ist nichts" if lang == "de" else "There is nothing here") in answer.text
    assert "<script>" not in answer.text


@given(st.text(max_size=300))
def test_any_accept_language_is_a_language(header: str) -> None:
    assert asked_lang(header) in ("en", "de")


@pytest.mark.parametrize(
    ("kept", "theme", "scheme"),
    [("", "system", "light dark"), ("theme=dark", "dark", "dark"), ("theme=light", "light", "light"),
     ('theme=x"onload', "system", "light dark")],
)  # fmt: skip
async def test_the_theme_is_in_the_first_byte(web: Site, kept: str, theme: str, scheme: str) -> None:
    """So nothing flashes: it waits for no script."""
    page = await seen(web, "/login", **cookie(kept))
    assert page.of("html")[0]["data-theme"] == theme
    assert page.of("meta", name="color-scheme")[0]["content"] == scheme


# ---- words and data -------------------------------------------------------------------------------------------------


def test_both_languages_say_all_with_the_same_places() -> None:
    everything = said.together([said.WORDS, *(module.WORDS for module in MODULES)])
    assert len(everything) > 200
    for key, pair in everything.items():
        assert len(pair) == 2, key
        assert all(text.strip() == text and text for text in pair), key
        assert said.places(pair[0]) == said.places(pair[1]), key


def test_a_key_has_one_meaning() -> None:
    assert said.together([{"a.b": ("x", "y")}, {"a.b": ("x", "y")}]) == {"a.b": ("x", "y")}
    with pytest.raises(ValueError, match=r"'a\.b' is said twice"):
        said.together([{"a.b": ("x", "y")}, {"a.b": ("x", "z")}])


def test_a_hole_in_a_sentence_is_a_defect() -> None:
    t = said.translator({"a.b": ("{n} of {all}", "{n} von {all}")}, "de")
    assert t("a.b", n=1, all="{n}") == "1 von {n}"  # what is put in is not read again
    with pytest.raises(KeyError, match="all"):
        t("a.b", n=1)
    with pytest.raises(KeyError, match=r"a\.c"):
        t("a.c")


async def test_scripts_get_the_words_that_they_say(web: Site) -> None:
    page = await seen(web, "/events", **cookie("lang=de"))
    data = json.loads(page.data)
    assert data["words"]["shell.retry"] == "Jetzt verbinden"
    assert data["zone"] == "UTC"


JSONS = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=60)
@given(JSONS)
def test_data_comes_through_whatever_it_holds(value: Any) -> None:
    text = str(data_block({"value": value}))
    assert not {"<", ">", "&"} & set(text)
    assert json.loads(text) == {"value": value}


@pytest.mark.parametrize("evil", ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028", "{{ 7 * 7 }}"])
async def test_a_path_is_a_text(web: Site, evil: str) -> None:
    answer = await web.http.get(f"/{evil}", headers=HTML)
    assert answer.status_code == 404
    page = Seen(answer.text)
    assert [found for found in page.of("script") if "src" not in found and found.get("id") != "data"] == []
    assert "49" not in re.findall(r"<p>(.*?)</p>", answer.text)[0]


# ---- pages that say one thing ---------------------------------------------------------------------------------------


async def test_who_asks_with_a_browser_is_told_by_a_page(web: Site) -> None:
    answer = await web.http.get("/nothing/here", headers=HTML)
    assert answer.status_code == 404
    assert "No page is at /nothing/here." in answer.text
    assert 'href="/"' in answer.text


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [("GET", "/nothing", {}), ("GET", "/nothing", {"accept": "*/*"}), ("GET", "/api/v1/nothing", HTML),
     ("POST", "/nothing", HTML), ("GET", "/static/x/nothing.js", HTML)],
)  # fmt: skip
async def test_programs_are_told_in_json(web: Site, method: str, path: str, headers: dict[str, str]) -> None:
    answer = await web.http.request(method, path, headers=headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error", "detail"}


async def test_a_flows_own_route_is_not_covered(web: Site) -> None:
    answer = await web.http.get("/status", headers=HTML)
    assert answer.headers["content-type"].startswith("application/json")
    answer = await web.http.get("/values", headers=HTML)
    assert answer.status_code == 405


def request_of(path: str = "/system", person: Person | None = None, **headers: str) -> Any:
    from starlette.requests import Request

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "state": {},
             "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}  # fmt: skip
    request = Request(scope)
    if person is not None:
        request.state.person = person
    return request


async def test_who_may_not_is_told_which_role_it_needs_and_who_gives_it(web: Site) -> None:
    face = Face(web.engine)
    answer = await face.denied(request_of(person=Person("vera", "viewer", "session", "token")), "editor")
    text = bytes(answer.body).decode()
    assert answer.status_code == 403
    assert "needs the role editor; vera has the role viewer" in text
    assert "flowrunner users role vera editor" in text
    assert '<meta name="csrf" content="token">' in text


async def test_a_defect_says_that_the_flows_run_on_and_nothing_of_its_insides(web: Site) -> None:
    answer = Face(web.engine).failed(request_of(person=Person("", "editor", "open")))
    text = bytes(answer.body).decode()
    assert answer.status_code == 500
    assert "The flows go on running" in text
    assert 'href="/system"' in text


async def test_before_the_log_in_a_page_tells_nothing_of_what_runs(web: Site) -> None:
    text = bytes(Face(web.engine).missing(request_of("/nothing")).body).decode()
    assert "/flows/" not in text
    assert 'id="live"' not in text
    assert "Not signed in" in text
    assert NOBODY.role == "viewer"


# ---- flows ----------------------------------------------------------------------------------------------------------


async def test_links_stay_with_the_flow_and_times_are_in_its_zone() -> None:
    async with site(TWO.format(name="plant")) as running:
        face = Face(running.engine)
        head = running.engine.graph.flows["plant"]
        assert face.title(head, request_of(cookie="lang=de")) == "Kraftwerk"
        assert face.title(head, request_of()) == "Power plant"
        assert face.zone("plant") == face.zone() == "Europe/Vienna"
        assert [link.href for link in face.nav("plant")] == ["/", "/flows/plant", "/events", "/system"]
        assert [link.href for link in face.nav("gone")] == ["/", "/flows/plant", "/events", "/system"]


async def test_every_page_is_reached_and_has_one_owner(web: Site) -> None:
    pages: list[Page] = every_page(Face(web.engine))
    paths = [page.path for page in pages]
    assert len(paths) == len(set(paths))
    assert {"/", "/events", "/system", "/login"} <= set(paths)
    assert [page.path for page in pages if page.role is None] == ["/login"]


async def test_nobody_gets_a_page_who_has_not_logged_in() -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": "a-key"}) as running:
        for path in ("/", "/events", "/system", "/flows/site"):
            answer: httpx2.Response = await running.http.get(path, headers=HTML)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login")
        answer = await running.http.get("/nothing", headers=HTML)
        assert answer.status_code == 404
        assert "site" not in answer.text.replace("/static/", "")
        assert (await running.http.get("/login", headers=HTML)).status_code == 200
