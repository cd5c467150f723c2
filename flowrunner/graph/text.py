"""The text of a flow file as it may be shown: what is written in it as a secret is masked, where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

from flowrunner.errors import Mark
from flowrunner.logs import MASK, Secrets

_ALONE = re.compile(r"""(["']?)\$\{(secret:[^}]*|[A-Za-z_][A-Za-z0-9_]*(:\?[^}]*)?)\}\1""")
"""A secret that stands elsewhere; only its name is in the file."""
_DEFAULT = re.compile(r"""(["']?)(\$\{[A-Za-z_][A-Za-z0-9_]*:-)([^}]*)(\}\1)""")


def masked_text(text: str, secret: Iterable[Mark], secrets: Secrets) -> str:
    """``secret``: where values begin that options call secret, however short they are; ``secrets``: what is not to be
    seen anywhere."""
    marks = {(mark.line, mark.column) for mark in secret}
    body = text.removeprefix("\ufeff")
    spans = []
    if marks:
        for token in yaml.scan(body, yaml.CSafeLoader):
            begin = token.start_mark
            if isinstance(token, yaml.ScalarToken) and (begin.line + 1, begin.column + 1) in marks:
                spans.append((begin.index, token.end_mark.index))
    for start, end in reversed(spans):
        body = body[:start] + _hidden(body[start:end]) + body[end:]
    return secrets.mask(body)


def _hidden(written: str) -> str:
    bare = written.rstrip()
    if not bare or bare in ('""', "''") or _ALONE.fullmatch(bare):
        return written
    rest = written[len(bare) :]
    if default := _DEFAULT.fullmatch(bare):
        return f"{default[1]}{default[2]}{MASK if default[3] else ''}{default[4]}{rest}"
    return f"{MASK}{rest}"
