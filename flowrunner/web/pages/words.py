"""What the pages say, in English and German: the shell's own words, and those of all pages together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

Words = Mapping[str, tuple[str, str]]
"""Key → (English, German). Both have the same ``{places}``."""
Translate = Callable[..., str]
"""``t(key, **values)``."""

WORDS: dict[str, tuple[str, str]] = {
    "shell.skip": ("Skip to content", "Zum Inhalt springen"),
    "shell.nav": ("Pages", "Seiten"),
    "shell.dashboard": ("Dashboard", "Übersicht"),
    "shell.flow": ("Flow", "Flow"),
    "shell.events": ("Events", "Ereignisse"),
    "shell.system": ("System", "System"),
    "shell.open-alarms": ("{n} open alarms", "{n} offene Alarme"),
    "shell.open-alarm": ("1 open alarm", "1 offener Alarm"),
    "shell.connecting": ("Connecting …", "Verbinde …"),
    "shell.live": ("Live · {hz} Hz", "Live · {hz} Hz"),
    "shell.paused": ("Paused", "Angehalten"),
    "shell.disconnected": ("Disconnected for {duration}", "Getrennt seit {duration}"),
    "shell.no-connection": ("No connection to flowrunner.", "Keine Verbindung zu flowrunner."),
    "shell.as-of": (
        "All values are as of {time}. Entries are locked.", "Alle Werte sind vom Stand {time}. Eingaben sind gesperrt.",
    ),
    "shell.locked": ("Entries are locked.", "Eingaben sind gesperrt."),
    "shell.next-try": ("Next try in {seconds} s (try {n})", "Neuer Versuch in {seconds} s ({n}. Versuch)"),
    "shell.trying": ("Connecting … (try {n})", "Verbinde … ({n}. Versuch)"),
    "shell.refused": ("The server answers {status}.", "Der Server antwortet {status}."),
    "shell.retry": ("Connect now", "Jetzt verbinden"),
    "shell.language": ("Language", "Sprache"),
    "shell.theme": ("Appearance", "Darstellung"),
    "shell.theme-system": ("System", "System"),
    "shell.theme-light": ("Light", "Hell"),
    "shell.theme-dark": ("Dark", "Dunkel"),
    "shell.to-light": ("Switch to light", "Hell anzeigen"),
    "shell.to-dark": ("Switch to dark", "Dunkel anzeigen"),
    "shell.menu": ("Settings and account", "Einstellungen und Konto"),
    "shell.not-signed-in": ("Not signed in", "Nicht angemeldet"),
    "shell.nobody": ("Open on this machine", "Offen auf diesem Rechner"),
    "shell.log-out": ("Log out", "Abmelden"),
    "shell.viewer": ("viewer: looks on", "viewer: sieht zu"),
    "shell.operator": ("operator: enters, acknowledges, stops", "operator: gibt ein, quittiert, hält an"),
    "shell.editor": ("editor: may change what runs", "editor: darf ändern, was läuft"),
    "shell.no-script": (
        "Without JavaScript this page shows the values of the moment when it was loaded, and takes no entries.",
        "Ohne JavaScript zeigt diese Seite die Werte vom Zeitpunkt des Ladens und nimmt keine Eingaben an.",
    ),
    "shell.unreachable": (
        "The server does not answer; what was sent may or may not have arrived. Look before you try again.",
        "Der Server antwortet nicht; ob das Gesendete angekommen ist, steht nicht fest. Vor dem nächsten Versuch nachsehen.",  # noqa: E501  (one sentence)
    ),
    "shell.answered": ("The server answered {status}.", "Der Server antwortete {status}."),
    "shell.close": ("Close", "Schließen"),
    "message.missing": ("There is nothing here", "Hier ist nichts"),
    "message.missing-text": ("No page is at {path}.", "Unter {path} gibt es keine Seite."),
    "message.denied": ("You may not see this", "Das darfst du nicht sehen"),
    "message.denied-text": (
        "This page needs the role {needed}; {name} has the role {role}.",
        "Diese Seite braucht die Rolle {needed}; {name} hat die Rolle {role}.",
    ),
    "message.denied-step": (
        "Who runs this flowrunner can change that:", "Wer dieses flowrunner betreibt, kann das ändern:",
    ),
    "message.failed": ("This page failed inside", "Diese Seite ist innen gescheitert"),
    "message.failed-text": (
        "The flows go on running. The log says why it failed.",
        "Die Flows laufen weiter. Das Protokoll sagt, woran es lag.",
    ),
    "message.again": ("Try again", "Noch einmal versuchen"),
    "message.home": ("To the dashboard", "Zur Übersicht"),
    "message.status": ("Status {status}", "Status {status}"),
}  # fmt: skip
_PLACE = re.compile(r"\{([a-z_]\w*)\}")


def together(all_words: Iterable[Words]) -> dict[str, tuple[str, str]]:
    """All words of all pages. ValueError where two say different things by the same key."""
    found: dict[str, tuple[str, str]] = {}
    for words in all_words:
        for key, said in words.items():
            if found.setdefault(key, said) != said:
                raise ValueError(f"words: {key!r} is said twice, and differently")
    return found


def translator(words: Words, lang: str) -> Translate:
    """``t(key, **values)`` in that language. KeyError for a key or a place that is not there: a page with a hole in its
    sentence is a defect."""
    index = 1 if lang == "de" else 0

    def t(key: str, /, **values: object) -> str:
        return _PLACE.sub(lambda match: str(values[match[1]]), words[key][index])

    return t


def for_script(words: Words, lang: str, wanted: Iterable[str]) -> dict[str, str]:
    """Key → text for the browser. What ends with a dot (``"dashboard."``) means all keys that begin so."""
    index = 1 if lang == "de" else 0
    found: dict[str, str] = {}
    for key in wanted:
        if key.endswith("."):
            found |= {name: said[index] for name, said in words.items() if name.startswith(key)}
        else:
            found[key] = words[key][index]
    return found


def places(text: str) -> set[str]:
    """The ``{places}`` of a text."""
    return set(_PLACE.findall(text))
