"""``/static/{version}/{name}``: styles, scripts, icons and fonts, from memory, under a name that changes with them."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from flowrunner.http import refusal
from flowrunner.web.answer import answer, takes_gzip

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".woff2": "font/woff2",
}
"""What is served. Licences and tables lie beside it and are not."""
PACKED = ".woff2"
"""Compressed already."""
FOREVER = "public, max-age=31536000, immutable"
PATH = "/static/{version}/{name:path}"
_IMPORT = re.compile(rb'^(?:import|export) [^"]*"\./([^"]+)";', re.MULTILINE)


class Statics:
    """All files of the folder, read once. ``version`` is a hash of them: who has a page has what belongs to it."""

    def __init__(self, folder: Traversable | None = None) -> None:
        self.files = dict(sorted(_read(folder or resources.files("flowrunner.web") / "static")))
        whole = hashlib.sha256()
        for name, body in self.files.items():
            whole.update(f"{name}\0{len(body)}\0".encode() + body)
        self.version = whole.hexdigest()[:12]
        self._zipped: dict[str, bytes] = {}

    def url(self, name: str) -> str:
        """Where a page finds a file. KeyError for one that is not there."""
        if name not in self.files:
            raise KeyError(f"static/{name} is not there; there are {', '.join(self.files)}")
        return f"/static/{self.version}/{name}"

    def modules(self, name: str, without: str = "") -> list[str]:
        """The scripts that ``name`` imports, those that they import too, each once: what a page may ask for in one go.
        ``without``: and not those of another one."""
        found: dict[str, None] = {}
        waiting = [name]
        while waiting:
            for match in _IMPORT.findall(self.files[waiting.pop()]):
                one = match.decode()
                if one not in found:
                    found[one] = None
                    waiting.append(one)
        there = {without, *self.modules(without)} if without else set()
        return [one for one in found if one != name and one not in there]

    async def serve(self, request: Request) -> Response:
        """GET and HEAD. An older version's name gets the file as it is now, and is not to be kept."""
        name = request.path_params["name"]
        body = self.files.get(name)
        if body is None:
            return answer(refusal(404, "no-file", f"there is no static file {name[:100]!r}"))
        suffix = name[name.rindex(".") :]
        current = request.path_params["version"] == self.version
        headers = {"cache-control": FOREVER if current else "no-store", "content-type": TYPES[suffix]}
        if suffix != PACKED:
            headers["vary"] = "accept-encoding"
            if takes_gzip(request.headers.get("accept-encoding", "")):
                body = self.zipped(name)
                headers["content-encoding"] = "gzip"
        return Response(body, headers=headers)

    def zipped(self, name: str) -> bytes:
        """Made when it is first asked for."""
        if name not in self._zipped:
            self._zipped[name] = gzip.compress(self.files[name], 9, mtime=0)
        return self._zipped[name]


def _read(folder: Traversable, above: str = "") -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for one in folder.iterdir():
        if one.is_dir():
            found += _read(one, f"{above}{one.name}/")
        elif any(one.name.endswith(suffix) for suffix in TYPES):
            found.append((above + one.name, one.read_bytes()))
    return found
