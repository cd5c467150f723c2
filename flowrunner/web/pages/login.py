"""``/login``: who are you? Also where nobody has to say so, and where there is nobody yet who could."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import Response

from flowrunner.web.pages.face import Face, Page
from flowrunner.web.people.log_in import Refused, own_path

WORDS: dict[str, tuple[str, str]] = {
    "login.title": ("Log in", "Anmelden"),
    "login.name": ("Name", "Name"),
    "login.password": ("Password", "Passwort"),
    "login.enter": ("Log in", "Anmelden"),
    "login.on": ("You get to {path} then.", "Danach geht es weiter zu {path}."),
    "login.wrong": (
        "The name or the password is wrong. Nothing was changed; try again.",
        "Name oder Passwort ist falsch. Nichts wurde geändert; bitte noch einmal.",
    ),
    "login.wrong-wait": (
        "The name or the password is wrong. The next try is looked at in {seconds} s.",
        "Name oder Passwort ist falsch. Der nächste Versuch wird in {seconds} s angenommen.",
    ),
    "login.wait": (
        "There were too many wrong tries. Wait {seconds} s, then try again; until then nothing is looked at.",
        "Es gab zu viele falsche Versuche. Warte {seconds} s und versuche es dann noch einmal; bis dahin wird nichts geprüft.",  # noqa: E501  (one sentence)
    ),
    "login.busy": (
        "Too many people log in at this moment. Try again in {seconds} s.",
        "Gerade melden sich zu viele an. Versuche es in {seconds} s noch einmal.",
    ),
    "login.store": (
        "Nobody can log in now: the state file cannot be written. The log says why; the flows run on.",
        "Gerade kann sich niemand anmelden: die Zustandsdatei lässt sich nicht schreiben. Das Protokoll sagt, warum; die Flows laufen weiter.",  # noqa: E501  (one sentence)
    ),
    "login.nobody": ("There is no user yet", "Es gibt noch keinen Benutzer"),
    "login.nobody-text": (
        "Who runs this flowrunner adds the first one on its machine; the page sees it within a second:",
        "Wer dieses flowrunner betreibt, legt den ersten auf dem Rechner an; die Seite weiß es binnen einer Sekunde:",
    ),
    "login.nobody-roles": (
        "A viewer looks on, an operator enters values and stops trading, an editor may do everything.",
        "Ein viewer sieht zu, ein operator gibt Werte ein und hält den Handel an, ein editor darf alles.",
    ),
    "login.open": ("Nobody has to log in here", "Hier muss sich niemand anmelden"),
    "login.open-text": (
        "There is neither a user nor a key, and this server can be reached from its own machine only: everybody there may do everything. The first user ends that:",  # noqa: E501  (one sentence)
        "Es gibt weder Benutzer noch Schlüssel, und dieser Server ist nur vom eigenen Rechner aus zu erreichen: dort darf jeder alles. Der erste Benutzer beendet das:",  # noqa: E501  (one sentence)
    ),
    "login.home": ("To the dashboard", "Zur Übersicht"),
    "login.forgotten": (
        "Forgotten? Who runs this flowrunner gives another one: flowrunner users password NAME",
        "Vergessen? Wer dieses flowrunner betreibt, vergibt ein neues: flowrunner users password NAME",
    ),
}  # fmt: skip
COMMAND = "flowrunner users add NAME --role operator"


def pages(face: Face) -> list[Page]:
    """The page; it is the one that needs nobody."""
    return [Page("/login", Login(face).page, role=None)]


class Login:
    """The page, empty or again."""

    def __init__(self, face: Face) -> None:
        self._face = face

    async def page(self, request: Request) -> Response:
        """Empty. Who follows another site's link comes here without the cookie (SameSite=Strict): the page asks once
        more by itself for what was wanted, and then the cookie comes along."""
        target = own_path(request.query_params.get("next", "/"))
        response = self._shown(request, None, "", target)
        if request.headers.get("sec-fetch-site") == "cross-site":
            response.headers["refresh"] = f"0; url={target}"
        return response

    async def again(self, request: Request, refused: Refused, name: str, target: str) -> Response:
        """Once more, and why."""
        return self._shown(request, refused, name, target)

    def _shown(self, request: Request, refused: Refused | None, name: str, target: str) -> Response:
        people, t = self._face.people, self._face.t(request)
        state = "open" if people is None or people.open else "nobody" if people.nobody_yet else "form"
        said = ""
        if refused is not None:
            seconds = math.ceil(refused.seconds)
            key = "login.wrong-wait" if refused.why == "wrong" and seconds else f"login.{refused.why}"
            said = t(key, seconds=max(1, seconds))
        return self._face.html(
            request, "login.html", title=t("login.title"), state=state, said=said, name=name[:64], target=target,
            command=COMMAND, bare=True,
        )  # fmt: skip
