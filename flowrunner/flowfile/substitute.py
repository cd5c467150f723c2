"""``${…}`` in a Document: environment, vars and secrets, put in after parsing so that no value changes structure.

======================  =====================================================================
``${NAME}``             environment (upper case) or var of the file (lower case); must be set
``${NAME:-default}``    the default where the variable is unset or empty (as in POSIX shells)
``${NAME:?message}``    the message is the error where it is unset or empty
``${secret:name}``      the text of the file ``name`` in the secrets folder; masked in every output
``$${``                 a literal ``${``
======================  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowrunner.errors import did_you_mean
from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, spell
from flowrunner.flowfile.loader import scalar
from flowrunner.reading import read_regular, text_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET = re.compile(r"secret:([A-Za-z0-9._-]+)", re.ASCII)
_BRACES = re.compile(r"\$\{|\}")
SECRETS_FOLDER = "FLOWRUNNER_SECRETS"
"""Environment variable that names the folder of ``${secret:name}`` files; default ``/run/secrets``."""
MADE_UP = "made-up:"
"""In place of that folder: every secret is made up, for runs that must not know the real ones."""
MAX_DEFAULTS = 10
"""Defaults may hold defaults, down to here."""
PLACES = ("FILE", "PATH", "FOLDER", "DIR", "HOST", "PORT")
"""Last words of names that say where something is: ``API_KEY_FILE``, ``KEYCLOAK_HOST``."""


def looks_secret(name: str) -> bool:
    """Whether a variable's name says that its value must not be shown."""
    if name.upper().rpartition("_")[2] in PLACES:
        return False
    return any(word in name.upper() for word in ("PASSWORD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"))


def substitute(document: Document, environment: Mapping[str, str]) -> None:
    """Replace every ``${…}`` in ``document`` in place; problems are added to it.

    ``vars`` come first, in their order, and may use the environment and earlier vars. A variable that
    is missing is reported once per place, and its leaf is broken: nothing more is said of it.
    """
    _Substituter(document, environment).run()


class _Bad(Exception):
    """One substitution failed: code, message, hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code, self.message, self.hint = code, message, hint


class _Silent(Exception):
    """It failed because of something that is reported already."""


@dataclass(slots=True)
class _Filled:
    """A text with everything put in."""

    text: str
    variable: str = ""
    """What the whole text came from, when it was one substitution."""
    secrets: list[str] = field(default_factory=list)
    ok: bool = True


class _Substituter:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document = document
        self.environment = environment
        self.vars: dict[str, Leaf] = {}

    def run(self) -> None:
        root = self.document.root
        own = root.items.get("vars")
        if isinstance(own, Branch):
            for name, tree in own.items.items():
                own.items[name] = self.tree(tree, ["vars", name])
                leaf = own.items[name]
                if isinstance(leaf, Leaf):
                    self.vars[name] = leaf
        for name, tree in root.items.items():
            if name != "vars":
                root.items[name] = self.tree(tree, [name])

    def tree(self, tree: Tree, path: list[Step]) -> Tree:
        if isinstance(tree, Leaf):
            return self.leaf(tree, path)
        if isinstance(tree, Items):
            items = [self.tree(item, [*path, index]) for index, item in enumerate(tree.items)]
            return Items(tree.mark, items)
        branch = Branch(tree.mark, broken=tree.broken)
        for raw, value in tree.items.items():
            mark = tree.keys[raw]
            key = raw
            if "${" in raw:
                filled = self.fill(Leaf(raw, raw, mark), [*path, raw])
                key = filled.text
                branch.broken = branch.broken or not filled.ok
                self.document.secrets.update(filled.secrets)  # a key has no place of its own to hide it
            if key in branch.keys:
                first = branch.keys[key]
                self.document.report(
                    mark, "duplicate-key", f"{key!r} is here twice, once from {raw}", path=spell([*path, key]),
                    hint=f"the first is at line {first.line}, column {first.column}",
                )  # fmt: skip
                continue
            branch.keys[key] = mark
            branch.items[key] = self.tree(value, [*path, key])
        return branch

    def leaf(self, leaf: Leaf, path: list[Step]) -> Leaf:
        if not isinstance(leaf.value, str) or "${" not in leaf.value:
            return leaf
        filled = self.fill(leaf, path)
        value: str | int | float | bool | None = filled.text
        if filled.variable and filled.ok and filled.text:
            try:
                value = scalar(filled.text)
            except ValueError:
                value = filled.text
        if filled.secrets:
            self.document.veiled[leaf.mark] = tuple(filled.secrets)
        return Leaf(
            value, filled.text, leaf.mark, leaf.style, leaf.straight, leaf.text, filled.variable,
            tuple(filled.secrets), broken=not filled.ok,
        )  # fmt: skip

    def fill(self, leaf: Leaf, path: list[Step]) -> _Filled:
        """The text of ``leaf`` with everything put in. Each part that fails is reported at its own place."""
        filled = _Filled("")
        out: list[str] = []
        names: list[str] = []
        for literal, body, at in _parts(leaf.text):
            out.append(literal)
            if at < 0:
                continue
            try:
                if body is None:
                    raise _Bad(
                        "substitution", f"a ${{ is not closed in {leaf.text!r}",
                        "write ${NAME} or ${NAME:-default}; a literal ${ is written $${",
                    )  # fmt: skip
                names.append(body)
                out.append(self.resolve(body, filled.secrets))
            except (_Bad, _Silent) as bad:
                filled.ok = False
                if isinstance(bad, _Bad):
                    place = leaf.mark_in_raw(at)
                    self.document.report(place, bad.code, bad.message, path=spell(path), hint=bad.hint, quotes=False)
        filled.text = "".join(out) if filled.ok else leaf.text
        if len(names) == 1 and leaf.text == f"${{{names[0]}}}":
            filled.variable = re.split(r":[-?]", names[0])[0]
        return filled

    def resolve(self, body: str, secrets: list[str], depth: int = 0) -> str:
        """The value of one ``${body}``; what of it must not be shown is added to ``secrets``."""
        if match := _SECRET.fullmatch(body):
            value = self.secret(match[1])
            self.document.secrets.add(value)
            secrets += [value] if value else []
            return value
        match = _NAME.match(body)
        rest = body[match.end() :] if match else ""
        if match is None or rest[:2] not in ("", ":-", ":?"):
            hint = "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${secret:name}"
            if match and rest.startswith("-"):
                hint = f"a default is written ${{{match[0]}:{rest}}}"
            raise _Bad("substitution", f"${{{body[:60]}}} is not a substitution", hint)
        name = match[0]
        found = self.lookup(name, secrets)
        if found:
            return found
        if rest.startswith(":-"):
            return self.default(rest[2:], secrets, depth + 1)
        if rest.startswith(":?"):
            raise _Bad("missing-variable", f"{name} is not set: {rest[2:] or 'it is required'}")
        if found is None:
            raise self.missing(name)
        return found

    def lookup(self, name: str, secrets: list[str]) -> str | None:
        if not name.isupper():
            leaf = self.vars.get(name)
            if leaf is not None and leaf.broken:
                raise _Silent
            secrets += leaf.secrets if leaf else ()
            return leaf.text if leaf else None
        value = self.environment.get(name)
        if value and any("\ud800" <= char <= "\udfff" for char in value):  # bytes that os.environ could not decode
            raise _Bad("encoding", f"the value of {name} is not UTF-8 text", "set it as UTF-8")
        if value and looks_secret(name):
            secrets.append(value)
        return value

    def default(self, text: str, secrets: list[str], depth: int) -> str:
        """A default may hold further substitutions: ``${A:-${B:-x}}``."""
        if depth > MAX_DEFAULTS:
            raise _Bad("substitution", f"more than {MAX_DEFAULTS} defaults inside each other")
        return "".join(
            literal + ("" if body is None else self.resolve(body, secrets, depth)) for literal, body, _ in _parts(text)
        )

    def missing(self, name: str) -> _Bad:
        if name.isupper():
            hint = did_you_mean(name, (known for known in self.environment if known.isupper()))
            hint = hint or f"set it, or give a default: ${{{name}:-…}}"
            return _Bad("missing-variable", f"{name} is not set in the environment", hint)
        if name.islower():
            hint = did_you_mean(name, self.vars) or "vars are defined at the top of the file, before they are used"
            return _Bad("missing-variable", f"there is no var {name!r}", hint)
        return _Bad("substitution", f"{name!r} mixes upper and lower case", "environment: UPPER_CASE; var: lower_case")

    def secret(self, name: str) -> str:
        folder = Path(self.environment.get(SECRETS_FOLDER) or "/run/secrets")
        if name.startswith("."):
            raise _Bad("secret", f"{name!r} is not the name of a secret", "a secret is a file in the secrets folder")
        if self.environment.get(SECRETS_FOLDER) == MADE_UP:
            return f"made-up-{name}"
        try:
            return text_of(read_regular(folder / name)).removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
            raise _Bad(
                "secret", f"the secret {name!r} cannot be read: {reason}",
                f"it is a file in the folder {folder}; {SECRETS_FOLDER} names another folder",
            ) from None  # fmt: skip


def _parts(text: str) -> list[tuple[str, str | None, int]]:
    """(literal text, body of the ``${…}`` behind it or None if it never ends, where that begins or -1 at the end)."""
    parts: list[tuple[str, str | None, int]] = []
    literal, at = "", 0
    while (start := text.find("${", at)) >= 0:
        if start > at and text[start - 1] == "$":
            literal += text[at : start - 1] + "${"
            at = start + 2
            continue
        literal += text[at:start]
        end = _closing(text, start)
        if end < 0:
            return [*parts, (literal, None, start)]
        parts.append((literal, text[start + 2 : end], start))
        literal, at = "", end + 1
    return [*parts, (literal + text[at:], None, -1)]


def _closing(text: str, start: int) -> int:
    """The index of the ``}`` that closes the ``${`` at ``start``, or -1."""
    depth = 0
    for match in _BRACES.finditer(text, start):
        depth += 1 if match[0] == "${" else -1
        if depth == 0:
            return match.start()
    return -1
