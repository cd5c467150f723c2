"""Text that is not YAML: what a person meant, where it is one of the usual mistakes.

libyaml stops at the first one, so there is one problem for a file, and it should be the right one.
"""

from __future__ import annotations

import re

import yaml

from flowrunner.errors import Mark
from flowrunner.flowfile.document import Document

_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
_NOT_YAML = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What libyaml refuses; the printable characters of yaml.org/spec/1.2.2, §5.1."""
_WHOLE = re.compile(r"\$\{[^}]*\}?")
_HARD = re.compile(r"(?:[\w.-]+:)?[ ]*(\xa0)")
_TIGHT = re.compile(r"\s*(?:- )?([^\s:#'\"{}\[\]]+):((?!//)\S.*)")
MISSING_SPACE = "after ':' a space is missing"
HARD_SPACE = "a non-breaking space (U+00A0) stands where a space must be"
HARD_SPACE_HINT = "type the space anew; copied text often holds these"
Found = tuple[Mark, str, str, str]
"""(place, code, message, hint)"""


def report_characters(document: Document) -> None:
    """A character that no YAML file may hold."""
    found = _NOT_YAML.search(document.text)
    mark = _place(document.text, found.start()) if found else Mark()
    name = f"the character U+{ord(found[0]):04X}" if found else "a character"
    document.report(mark, "syntax", f"{name} cannot stand in a flow file", hint="remove it")


def _place(text: str, offset: int) -> Mark:
    """The line and column of a character, by what YAML calls a line."""
    lines = _BREAK.split(text[:offset])
    return Mark(len(lines), len(lines[-1]) + 1)


def report_syntax(document: Document, error: yaml.MarkedYAMLError) -> None:
    """Say what libyaml found in the words of somebody who edits a flow."""
    lines = _BREAK.split(document.text)
    mark, code, message, hint = _meant(lines, error)
    document.report(mark, code, message, hint=hint)


def _meant(lines: list[str], error: yaml.MarkedYAMLError) -> Found:
    at = error.problem_mark or error.context_mark
    mark = Mark(at.line + 1, at.column + 1) if at else Mark()
    begun = Mark(error.context_mark.line + 1, error.context_mark.column + 1) if error.context_mark else mark
    line = _line(lines, mark)
    problem, context = str(error.problem or ""), str(error.context or "")
    tab = re.match(r"[ ]*\t", line)
    if tab and not line[: mark.column].strip():
        return Mark(mark.line, tab.end()), "tab", "a tab is used for indentation", "YAML indents with spaces only"
    for number in (mark.line, mark.line - 1):
        text = _line(lines, Mark(number, 1)) if number else ""
        bare = text.lstrip(" ")
        if column := hard_space(bare):
            return Mark(number, len(text) - len(bare) + column), "syntax", HARD_SPACE, HARD_SPACE_HINT
    found = _unquoted(line) if "expected" in problem or "mapping" in problem else None
    if found:
        where = Mark(mark.line, found.start() + 1)
        return where, "unquoted-substitution", "a ${…} inside {} or [] is not quoted", f'write "{found[0]}"'
    if "mapping values are not allowed" in problem:
        return _stray_colon(lines, mark)
    if "could not find expected ':'" in problem:
        if tight := missing_space(_line(lines, begun)):
            return Mark(begun.line, tight[0]), "syntax", MISSING_SPACE, tight[1]
        return begun, "syntax", "a key without ':'", "write 'key: value'; is a line above not closed or not indented?"
    if "cannot start any token" in problem:
        what = line[mark.column - 1 : mark.column]
        return mark, "syntax", f"{what!r} cannot begin a value", "put the text in quotes"
    if "quoted scalar" in context:
        return begun, "syntax", "this quote is not closed", "inside of a quoted text the same quote is written twice"
    if "flow" in context and "expected" in problem:
        return _open_bracket(lines, begun, mark)
    if "did not find expected key" in problem or "block" in context:
        return mark, "syntax", "this line does not fit the indentation above it", "align it with its neighbours"
    if "undefined alias" in problem:
        name = re.match(r"\*([^\s,\]}]*)", line[mark.column - 1 :])
        what = f"there is no anchor {name[1]!r}" if name else "there is no such anchor"
        return mark, "syntax", what, "an anchor is written '&name' before its first '*name'"
    if "another document" in problem:
        return mark, "syntax", "a second document begins here", "remove '---', or make two files"
    if "document start" in problem:
        return (
            mark,
            "syntax",
            "this stands outside of the map that the file began with",
            "is a bracket closed too early?",
        )
    return mark, "syntax", problem or str(error), ""


def hard_space(text: str) -> int:
    """The column (from 1) of a non-breaking space that begins a plain text or stands behind its ``key:``; else 0."""
    found = _HARD.match(text)
    return found.start(1) + 1 if found else 0


def missing_space(line: str) -> tuple[int, str] | None:
    """Of a line ``key:value``: the column (from 1) where the space belongs, and what to write."""
    found = _TIGHT.match(line)
    return (found.start(2) + 1, f"write '{found[1]}: {found[2].rstrip()}'") if found else None


def _unquoted(line: str) -> re.Match[str] | None:
    """The first ``${…}`` of a line that stands in a bracket, outside of quotes."""
    quote, depth, at = "", 0, 0
    while at < len(line):
        char = line[at]
        if quote:
            quote = "" if char == quote else quote
        elif char == "#" and line[at - 1 : at].isspace():
            return None
        elif line.startswith("${", at):
            found = _WHOLE.match(line, at)
            if depth or found is None:
                return found
            at = found.end() - 1
        elif char in "'\"":
            quote = char
        else:
            depth += (char in "{[") - (char in "}]")
        at += 1
    return None


def _open_bracket(lines: list[str], begun: Mark, mark: Mark) -> Found:
    bracket = _line(lines, begun)[begun.column - 1 : begun.column]
    if bracket not in ("{", "["):
        return mark, "syntax", "a value, or the end of a '{' or '[', is missing here", "is a bracket above not closed?"
    if begun.line == mark.line:
        return mark, "syntax", f"a comma or the end of {bracket!r} is missing before this", _begins(begun)
    end = {"{": "}", "[": "]"}.get(bracket, "the end")
    message = f"this {bracket!r} is not closed"
    return begun, "syntax", message, f"write {end!r}, or the comma that is missing before line {mark.line}"


def _line(lines: list[str], mark: Mark) -> str:
    """The line of a place; empty behind the last one."""
    return lines[mark.line - 1] if mark.line <= len(lines) else ""


def _begins(mark: Mark) -> str:
    return f"it begins at line {mark.line}, column {mark.column}"


def _stray_colon(lines: list[str], mark: Mark) -> Found:
    """A ':' where none can be: the line's own text holds one, or the line above has no ':' or is indented less."""
    line = _line(lines, mark)
    key = re.match(r"\s*(?:- )?([^\s:#'\"][^:#'\"]*):\s+(.*\S)", line)
    if key and mark.column - 1 > key.end(1):
        value = key[2].replace('"', "'")
        whole = f': {key[1]}: "{value}"' if len(line) <= 100 else ""
        return mark, "syntax", "a ':' inside a text", f"put the text in quotes{whole}"
    above = next(((n, one) for n, one in enumerate(lines[mark.line - 2 :: -1]) if one.strip()), None)
    if above is None:
        return mark, "syntax", "a ':' where none can be", "put the text in quotes"
    number, text = mark.line - 1 - above[0], above[1]
    where = Mark(number, len(text) - len(text.lstrip()) + 1)
    if not re.search(r":(\s|$)", text):
        if tight := missing_space(text):
            return Mark(number, tight[0]), "syntax", MISSING_SPACE, tight[1]
        words = [*text.strip().split(None, 1), "…"][:2]
        return where, "syntax", "a ':' is missing", f"write '{words[0]}: {words[1]}'"
    if len(line) - len(line.lstrip()) > where.column - 1:
        place = Mark(mark.line, len(line) - len(line.lstrip()) + 1)
        return place, "syntax", "this line is indented deeper than the one above, which has a value", "align the two"
    return mark, "syntax", "a ':' where none can be", "check the indentation, or quote the text that holds ': '"
