"""Pages, their files and the log-in as routes."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from flowrunner.engine import Engine
from flowrunner.web.api import by_method
from flowrunner.web.guard import Handler
from flowrunner.web.pages import every_page, login, statics
from flowrunner.web.pages.face import Face
from flowrunner.web.people.doors import doors
from flowrunner.web.people.gate import Gate
from flowrunner.web.people.log_in import LogIn


def page_routes(face: Face, gate: Gate, engine: Engine) -> list[BaseRoute]:
    """What browsers ask beside the API. Files and the log-in are open to all, each page to its role."""
    paths: dict[str, dict[str, Handler]] = {statics.PATH: {"GET": face.statics.serve}}
    for page in every_page(face):
        handle = page.handle if page.role is None else gate.page(page.handle, page.role, face.denied)
        paths.setdefault(page.path, {})["GET"] = handle
    log_in = LogIn(gate.people, engine.audit, engine.clock)
    for path, handle in doors(gate, log_in, login.Login(face).again).items():
        paths.setdefault(path, {})["POST"] = handle
    return [Route(path, by_method(handlers), methods=[*handlers]) for path, handlers in paths.items()]
