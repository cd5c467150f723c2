"""What all pages have in common: language, theme, navigation, policy, and the page around their content."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple, cast
from urllib.parse import quote

import jinja2
import msgspec
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from flowrunner.engine import Engine
from flowrunner.graph import FlowHead
from flowrunner.store.people import Role
from flowrunner.web.answer import encode
from flowrunner.web.live import Hub
from flowrunner.web.pages import formats
from flowrunner.web.pages import words as said
from flowrunner.web.pages.formats import LANGS, Lang
from flowrunner.web.pages.statics import Statics
from flowrunner.web.people import People, Person, may

Theme = Literal["system", "light", "dark"]
THEMES: tuple[Theme, ...] = ("system", "light", "dark")
NOBODY = Person("", "viewer", "open")
"""Who looks at a page that needs nobody: the log-in."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; connect-src 'self'; img-src 'self'; "
    "font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
"""No trusted-types policy may be made either: then no string ever becomes markup or code."""


class Page(NamedTuple):
    """One page: its path, what makes it, and who may see it."""

    path: str
    handle: Callable[[Request], Awaitable[Response]]
    role: Role | None = "viewer"
    """None: everybody, before the log-in too."""


class Link(NamedTuple):
    """One place of the rail."""

    key: str
    href: str
    icon: str
    begins: str
    """The place is the current one on all paths that begin so."""


class Step(NamedTuple):
    """Where a message page leads on."""

    title: str
    href: str


class Face:
    """Makes pages. ``hub`` and ``people`` are None where there are none."""

    def __init__(self, engine: Engine, *, hub: Hub | None = None, people: People | None = None) -> None:
        from flowrunner.web.pages import MODULES  # the pages import this room; only by now all of them are there

        self.engine, self.hub, self.people = engine, hub, people
        self.statics = Statics()
        self.words = said.together([said.WORDS, *(module.WORDS for module in MODULES)])
        self._translators = {lang: said.translator(self.words, lang) for lang in LANGS}
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(str(resources.files("flowrunner.web") / "templates"))),
            autoescape=True, undefined=jinja2.StrictUndefined, auto_reload=False, trim_blocks=False,
        )  # fmt: skip
        self.environment.globals |= {"static": self.statics.url, "modules": self.statics.modules, "icon": self.icon}

    # ---- the reader -----------------------------------------------------------------------------------------------

    def lang(self, request: Request) -> Lang:
        """The cookie ``lang``, else what the browser asks for first, else English."""
        kept = request.cookies.get("lang")
        for lang in LANGS:
            if kept == lang:
                return lang
        return asked_lang(request.headers.get("accept-language", ""))

    def theme(self, request: Request) -> Theme:
        """The cookie ``theme``; the system's choice without it."""
        kept = request.cookies.get("theme")
        return next((theme for theme in THEMES if theme == kept), "system")

    def t(self, request: Request) -> said.Translate:
        """``t(key, **values)`` in the reader's language."""
        return self._translators[self.lang(request)]

    def person(self, request: Request) -> Person:
        """Who asks; nobody on pages before the log-in."""
        return getattr(request.state, "person", None) or NOBODY

    # ---- pages ----------------------------------------------------------------------------------------------------

    def html(
        self,
        request: Request,
        template: str,
        *,
        title: str,
        status: int = 200,
        words: Iterable[str] = (),
        data: object = None,
        **context: object,
    ) -> Response:
        """A page from ``templates/``. ``words``: keys (or ``"page."``: all that begin so) that its scripts say;
        ``data``: what its scripts read, a mapping; ``zone`` and ``words`` are added. ``flow=NAME`` tells which flow the
        page is about, ``crumb=`` what stands behind the title above, ``bare=True`` leaves out the rail and the live
        stream."""
        nonce = secrets.token_urlsafe(16)
        lang, person = self.lang(request), self.person(request)
        told = dict(cast("Mapping[str, object]", data or {}))
        flow = context.pop("flow", None)
        told.setdefault("zone", self.zone(flow))
        told["words"] = said.for_script(self.words, lang, ["shell.", *words])
        body = self.environment.get_template(template).render(
            {
                "t": self.t(request),
                "lang": lang,
                "theme": self.theme(request),
                "nonce": nonce,
                "title": title,
                "person": person,
                "may": lambda role: may(person, role),
                "nav": self.nav(str(flow) if flow else None),
                "path": request.url.path,
                "data": data_block(told),
                "loaded": f"{formats.moment(self.engine.clock.now(), str(told['zone']), lang)} {told['zone']}",
                "bare": not hasattr(request.state, "person"),
                "crumb": "",
                "flow": flow,
                **context,
            }
        )
        headers = {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": POLICY.format(nonce=nonce),
            "cache-control": "no-store",
            "vary": "cookie, accept-language",
            # With "no-referrer" a browser sends "Origin: null" with a form, and the log-in would be refused.
            "referrer-policy": "same-origin",
        }
        return Response(body, status_code=status, headers=headers)

    def nav(self, flow: str | None = None) -> list[Link]:
        """The rail; its links stay with ``flow``, or lead to the first one."""
        flows = self.engine.graph.flows
        name = flow if flow in flows else next(iter(flows), "")
        home = f"/?flow={quote(name, safe='')}" if name and name != next(iter(flows)) else "/"
        return [
            Link("dashboard", home, "dash", "/dashboards"),
            Link("flow", f"/flows/{quote(name, safe='')}" if name else "/flows", "flow", "/flows"),
            Link("events", "/events", "events", "/events"),
            Link("system", "/system", "settings", "/system"),
        ]

    def zone(self, flow: object = None) -> str:
        """The zone of a flow; without one that of all flows, and UTC where they have not the same."""
        flows = self.engine.graph.flows
        zones = (
            {flows[flow].timezone}
            if isinstance(flow, str) and flow in flows
            else {one.timezone for one in flows.values()}
        )
        return zones.pop() if len(zones) == 1 else "UTC"

    def title(self, head: FlowHead, request: Request) -> str:
        """A flow's title in the reader's language; its name where it has none."""
        if isinstance(head.title, dict):
            return head.title.get(self.lang(request)) or next(iter(head.title.values()), "") or head.name
        return head.title or head.name

    # ---- messages -------------------------------------------------------------------------------------------------

    def message(
        self,
        request: Request,
        status: int,
        head: str,
        text: str,
        *,
        icon: str = "info",
        code: str = "",
        steps: Iterable[Step] | None = None,
    ) -> Response:
        """A page that says one thing: what is so, and the next step. ``code``: a command that would help."""
        t = self.t(request)
        leads = [Step(t("message.home"), "/")] if steps is None else list(steps)
        return self.html(
            request, "message.html", title=head, status=status, head=head, text=text, mark=icon, code=code, steps=leads,
            code_status=status,
        )  # fmt: skip

    def missing(self, request: Request, text: str = "") -> Response:
        """404."""
        t = self.t(request)
        path = request.url.path
        told = text or t("message.missing-text", path=path if len(path) <= 200 else f"{path[:200]}…")
        return self.message(request, 404, t("message.missing"), told, icon="search")

    async def denied(self, request: Request, role: Role) -> Response:
        """403: the page needs ``role``."""
        t, person = self.t(request), self.person(request)
        text = t("message.denied-text", needed=role, name=person.name or "?", role=person.role)
        code = f"flowrunner users role {person.name} {role}" if person.by == "session" else ""
        return self.message(
            request, 403, t("message.denied"), f"{text} {t('message.denied-step')}" if code else text, icon="lock",
            code=code,
        )  # fmt: skip

    def failed(self, request: Request) -> Response:
        """500: a defect of ours; the log has it."""
        t = self.t(request)
        steps = [Step(t("message.home"), "/")]
        if request.method in ("GET", "HEAD"):
            steps.insert(0, Step(t("message.again"), request.url.path))
        return self.message(request, 500, t("message.failed"), t("message.failed-text"), icon="warn", steps=steps)

    @staticmethod
    def wants_page(request: Request) -> bool:
        """Whether a person asks by a browser, who gets a page instead of JSON."""
        path: str = request.scope["path"]
        accepts = "text/html" in request.headers.get("accept", "")
        return accepts and request.method in ("GET", "HEAD") and not path.startswith(("/api/", "/static/"))

    # ---- parts ----------------------------------------------------------------------------------------------------

    def icon(self, name: str, extra: str = "") -> Markup:
        """A symbol of ``static/icons.svg``, by its id without ``i-``."""
        style = f"i {extra}" if extra else "i"
        return Markup('<svg class="{}" aria-hidden="true"><use href="{}#i-{}"/></svg>').format(
            escape(style), self.statics.url("icons.svg"), escape(name)
        )


def data_block(value: object) -> Markup:
    """JSON that ends no script element and begins no comment, whatever its texts hold."""
    text = encode(value).decode()
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704  (escaped just above)


def asked_lang(header: str) -> Lang:
    """Of ``Accept-Language`` the language of ours that is wanted most; English where none is."""
    best: tuple[float, Lang] = (0.0, "en")
    for part in header[:500].split(","):
        name, _, rest = part.partition(";")
        lang = next((one for one in LANGS if name.strip().lower().partition("-")[0] == one), None)
        if lang is not None and (quality := _quality(rest)) > best[0]:
            best = quality, lang
    return best[1]


def _quality(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return msgspec.convert(value.strip(), float, strict=False)
    except msgspec.ValidationError:
        return 0.0
