"""Styles, scripts, icons, fonts: kept forever under a name that changes with them; nothing else can be had there."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest

from flowrunner.web.pages import formats
from flowrunner.web.pages.statics import Statics
from tests.web.site import Site

WEB = Path(formats.__file__).parents[1]
STATIC = WEB / "static"
VENDOR = STATIC / "vendor"
SHELL = ("shell.css", "shell.js", "live.js", "dom.js", "format.js", "icons.svg", "logo.svg")
SCRIPTS = sorted(path.name for path in STATIC.glob("*.js"))
SOURCES = sorted([*(WEB / "templates").glob("*.html"), *(WEB / "pages").glob("*.py"), *STATIC.glob("*.js")])


@pytest.fixture(scope="module")
def statics() -> Statics:
    return Statics()


@pytest.mark.anyio
async def test_a_file_is_kept_forever_and_sent_packed(web: Site, statics: Statics) -> None:
    answer = await web.http.get(statics.url("shell.css"), headers={"accept-encoding": "br, gzip"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == (STATIC / "shell.css").read_bytes()


@pytest.mark.anyio
@pytest.mark.parametrize("header", ["identity", "", "br", "gzip;q=0", "gzip; q=0.0"])
async def test_who_does_not_take_it_packed_gets_it_plain(web: Site, statics: Statics, header: str) -> None:
    answer = await web.http.get(statics.url("live.js"), headers={"accept-encoding": header})
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.content == (STATIC / "live.js").read_bytes()


@pytest.mark.anyio
async def test_fonts_are_packed_already(web: Site, statics: Statics) -> None:
    answer = await web.http.get(statics.url("fonts/inter-latin-wght-normal.woff2"), headers={"accept-encoding": "gzip"})
    assert answer.headers["content-type"] == "font/woff2"
    assert "content-encoding" not in answer.headers
    assert answer.content[:4] == b"wOF2"


@pytest.mark.anyio
async def test_a_page_of_before_an_upgrade_gets_what_there_is_and_does_not_keep_it(web: Site) -> None:
    answer = await web.http.get("/static/0123456789ab/shell.js")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.anyio
async def test_head_tells_the_same_without_the_file(web: Site, statics: Statics) -> None:
    answer = await web.http.head(statics.url("icons.svg"))
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-type"] == "image/svg+xml; charset=utf-8"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        "../app.py", "..%2fapp.py", "%2e%2e/app.py", "....//app.py", "..%5capp.py", "/etc/passwd", "fonts", "fonts/",
        "", "fonts/inter.LICENSE", "vendor/README.md", "shell.css%00", "SHELL.CSS", "shell.css/", "templates/base.html",
        "fonts/../../app.py",
    ],
)  # fmt: skip
async def test_nothing_else_can_be_had(web: Site, statics: Statics, path: str) -> None:
    told = await web.raw(
        f"GET /static/{statics.version}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert told.startswith(b"HTTP/1.1 404"), told[:200]
    assert b"make_app" not in told


@pytest.mark.anyio
async def test_post_is_refused(web: Site, statics: Statics) -> None:
    assert (await web.http.post(statics.url("shell.js"))).status_code == 405


def test_the_name_changes_with_every_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.js").write_text("1")
    (tmp_path / "b.css").write_text("2")
    seen = {Statics(tmp_path).version}
    for name, text in (("sub/a.js", "2"), ("b.css", "1"), ("c.svg", ""), ("sub/d.js", "")):
        (tmp_path / name).write_text(text)
        seen.add(Statics(tmp_path).version)
    assert len(seen) == 5
    (tmp_path / "notes.md").write_text("not served")
    assert Statics(tmp_path).version in seen
    assert Statics(tmp_path).url("sub/a.js") == f"/static/{Statics(tmp_path).version}/sub/a.js"
    with pytest.raises(KeyError, match=r"there are b\.css"):
        Statics(tmp_path).url("a.js")


def test_packing_loses_nothing(statics: Statics) -> None:
    for name, body in statics.files.items():
        assert gzip.decompress(statics.zipped(name)) == body


def test_the_shell_weighs_little(statics: Statics) -> None:
    weights = {name: len(statics.zipped(name)) for name in SHELL}
    assert sum(weights.values()) <= 25_000, weights


# ---- what is inside -------------------------------------------------------------------------------------------------


def test_what_is_not_ours_is_what_the_readme_names() -> None:
    named = re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    fonts = {f"../fonts/{path.name}" for path in (STATIC / "fonts").glob("*.woff2")}
    others = {path.name for path in VENDOR.iterdir() if path.suffix not in (".md", ".LICENSE")}
    assert {name for name, _ in named} == fonts | others
    for name, digest in named:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    licences = [path.read_text() for path in (*VENDOR.glob("*.LICENSE"), *(STATIC / "fonts").glob("*.LICENSE"))]
    for owner in ("Inter Project Authors", "JetBrains Mono Project Authors", "Lucide"):
        assert any(owner in text for text in licences), owner


def symbols() -> list[str]:
    return re.findall(r'<symbol id="i-([a-z-]+)"', (STATIC / "icons.svg").read_text())


def test_every_symbol_is_named_once_with_where_it_is_from() -> None:
    table = (VENDOR / "README.md").read_text().partition("| symbol | icon |")[2]
    named = re.findall(r"^\| ([a-z-]+) \| [a-z0-9-]+ \|$", table, re.MULTILINE)
    assert symbols() == sorted(set(symbols()))
    assert named == symbols()


def test_every_icon_that_is_asked_for_is_there() -> None:
    asked = {
        (path.name, name)
        for path in SOURCES
        for name in re.findall(r"""\bicon(?:\(|["']?[:=] ?)["']([a-z-]+)["']""", path.read_text())
    }
    assert len(asked) > 20
    assert sorted((file, name) for file, name in asked if name not in symbols()) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_make_no_markup_from_text_and_import_only_each_other(name: str) -> None:
    text = (STATIC / name).read_text()
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
                      'setAttribute("style"', "srcdoc", "javascript:"):  # fmt: skip
        assert forbidden not in text, forbidden
    imports = r'^(?:import|export)\b[^;"]*?\bfrom "([^"]+)"|^import "([^"]+)"|\bimport\("([^"]+)"'
    for module in ("".join(found) for found in re.findall(imports, text, re.MULTILINE)):
        assert module.startswith("./"), module
        assert (STATIC / urljoin("/", module).lstrip("/")).is_file(), module


def test_nothing_names_an_address_elsewhere() -> None:
    for path in [*STATIC.glob("*.*"), *(WEB / "templates").glob("*.html")]:
        found = set(re.findall(r"(?:https?:)?//[a-z][a-z0-9.-]+\.[a-z]{2,}", path.read_text()))
        assert found <= {"http://www.w3.org"}, (path.name, found)


def test_templates_carry_no_inline_style_and_no_handlers() -> None:
    for path in (WEB / "templates").glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=", text), path.name
        assert not re.search(r"\son[a-z]+=\"", text), path.name
        assert "|safe" not in text.replace(" ", ""), path.name


def test_a_page_asks_for_all_of_its_scripts_at_once(statics: Statics) -> None:
    """Without it a browser learns of a script only when it has read the one that imports it."""
    assert set(statics.modules("shell.js")) == {"dom.js", "format.js", "live.js"}
    own = statics.modules("dashboard.js", without="shell.js")
    assert len(own) == len(set(own))
    assert {"chart.js", "charts.js", "entries.js", "panels.js", "reading.js"} <= set(own)
    assert not {"shell.js", "dashboard.js", *statics.modules("shell.js")} & set(own)
    for name in (one for one in statics.files if one.endswith(".js")):
        imported = set(re.findall(r'from "\./([^"]+)"', statics.files[name].decode()))
        assert imported <= {name, *statics.modules(name)}
