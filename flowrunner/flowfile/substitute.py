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

import os
import re
from collections.abc import Mapping
from pathlib import Path

from flowrunner.errors import Mark, did_you_mean
from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, spell
from flowrunner.flowfile.loader import scalar

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET = re.compile(r"secret:([A-Za-z0-9._-]+)", re.ASCII)
SECRETS_FOLDER = "FLOWRUNNER_SECRETS"
"""Environment variable that names the folder of ``${secret:name}`` files; default ``/run/secrets``."""


class _Bad(Exception):
    """One substitution failed: code, message, hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code, self.message, self.hint = code, message, hint


def substitute(document: Document, environment: Mapping[str, str]) -> None:
    """Replace every ``${…}`` in ``document`` in place; problems are added to it.

    ``vars`` come first, in their order, and may use the environment and earlier vars. A variable that
    is missing is reported once per place, and its leaf stays text so that the rest is still checked.
    """
    _Substituter(document, environment).run()


class _Substituter:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document = document
        self.environment = environment
        self.vars: dict[str, str] = {}
        self.missing_secret = False

    def run(self) -> None:
        root = self.document.root
        own = root.items.get("vars")
        if isinstance(own, Branch):
            for name, tree in own.items.items():
                own.items[name] = self.tree(tree, ["vars", name])
                leaf = own.items[name]
                if isinstance(leaf, Leaf):
                    self.vars[name] = leaf.text
        for name, tree in root.items.items():
            if name != "vars":
                root.items[name] = self.tree(tree, [name])

    def tree(self, tree: Tree, path: list[Step]) -> Tree:
        if isinstance(tree, Leaf):
            return self.leaf(tree, path)
        if isinstance(tree, Items):
            items = [self.tree(item, [*path, index]) for index, item in enumerate(tree.items)]
            return Items(tree.mark, items)
        branch = Branch(tree.mark)
        for raw, value in tree.items.items():
            mark = tree.keys[raw]
            key = self.put_in(raw, mark, [*path, raw])[0]
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
        text, whole, secret, ok = self.put_in(leaf.value, leaf.mark, path)
        value: str | int | float | bool | None = text
        if whole and ok:
            try:
                value = scalar(text) if text else text
            except ValueError:
                value = text
        if secret and text:
            self.document.secrets.add(text)
        return Leaf(value, text, leaf.mark, leaf.style, whole if ok else "?", secret)

    def put_in(self, text: str, mark: Mark, path: list[Step]) -> tuple[str, str, bool, bool]:
        """The text with everything put in; the variable's name when it was one substitution; secret; ok."""
        if "${" not in text:
            return text, "", False, True
        out: list[str] = []
        at, secret, ok, names = 0, False, True, []
        while (start := text.find("${", at)) >= 0:
            if start > 0 and text[start - 1] == "$":
                out.append(text[at : start - 1] + "${")
                at = start + 2
                continue
            out.append(text[at:start])
            end = _closing(text, start)
            if end < 0:
                self.document.report(
                    mark, "substitution", f"a ${{ is not closed in {text!r}", path=spell(path),
                    hint="write ${NAME} or ${NAME:-default}; a literal ${ is written $${",
                )  # fmt: skip
                return text, "?", secret, False
            body = text[start + 2 : end]
            try:
                value, is_secret = self.resolve(body)
            except _Bad as bad:
                self.document.report(mark, bad.code, bad.message, path=spell(path), hint=bad.hint)
                value, is_secret, ok = text[start : end + 1], False, False
            names.append(body)
            secret = secret or is_secret
            out.append(value)
            at = end + 1
        whole = len(names) == 1 and text == f"${{{names[0]}}}"
        name = re.split(r":[-?]", names[0])[0] if whole else ""
        return "".join([*out, text[at:]]), name, secret, ok

    def resolve(self, body: str) -> tuple[str, bool]:
        if match := _SECRET.fullmatch(body):
            return self.secret(match[1]), True
        match = _NAME.match(body)
        rest = body[match.end() :] if match else ""
        if match is None or rest[:2] not in ("", ":-", ":?"):
            hint = "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${secret:name}"
            if match and rest.startswith("-"):
                hint = f"a default is written ${{{match[0]}:{rest}}}"
            raise _Bad("substitution", f"${{{body}}} is not a substitution", hint)
        name = match[0]
        value = self.lookup(name)
        if value:
            return value, False
        if rest.startswith(":-"):
            return self.put_in_default(rest[2:]), False
        if rest.startswith(":?"):
            raise _Bad("missing-variable", f"{name} is not set: {rest[2:] or 'it is required'}")
        if value is None:
            raise self.missing(name)
        return value, False

    def lookup(self, name: str) -> str | None:
        return self.environment.get(name) if name.isupper() else self.vars.get(name)

    def missing(self, name: str) -> _Bad:
        if name.isupper():
            hint = did_you_mean(name, (known for known in self.environment if known.isupper()))
            hint = hint or f"set it, or give a default: ${{{name}:-…}}"
            return _Bad("missing-variable", f"{name} is not set in the environment", hint)
        if name.islower():
            hint = did_you_mean(name, self.vars) or "vars are defined at the top of the file, before they are used"
            return _Bad("missing-variable", f"there is no var {name!r}", hint)
        return _Bad("substitution", f"{name!r} mixes upper and lower case", "environment: UPPER_CASE; var: lower_case")

    def put_in_default(self, text: str) -> str:
        """A default may hold further substitutions: ``${A:-${B:-x}}``."""
        if "${" not in text:
            return text
        out, at = [], 0
        while (start := text.find("${", at)) >= 0:
            end = _closing(text, start)
            if end < 0:
                break
            out += [text[at:start], self.resolve(text[start + 2 : end])[0]]
            at = end + 1
        return "".join([*out, text[at:]])

    def secret(self, name: str) -> str:
        folder = Path(self.environment.get(SECRETS_FOLDER) or "/run/secrets")
        if name.startswith("."):
            raise _Bad("secret", f"{name!r} is not the name of a secret", "a secret is a file in the secrets folder")
        try:
            return (folder / name).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not UTF-8 text"
            raise _Bad(
                "secret", f"the secret {name!r} cannot be read: {reason}",
                f"put it as a file into {folder}, or name the folder by {SECRETS_FOLDER}",
            ) from None  # fmt: skip


def _closing(text: str, start: int) -> int:
    """The index of the ``}`` that closes the ``${`` at ``start``, or -1."""
    depth, at = 0, start
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 2
            continue
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return -1
