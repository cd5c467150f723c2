"""The text of a flow in pieces: they are the text, whatever it is; and which lines are a node's, or may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.web.graph import newer
from flowrunner.web.graph.source import Piece, pieces, span

BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"
PARTS = st.text(alphabet="ab1 -:#\"'{}[],|>$\n\\.%é", max_size=60)


def kinds(line: str) -> dict[str, str]:
    """Text → what it is, of one line."""
    return {text: kind for kind, text in pieces(line)[0] if kind}


@given(PARTS)
@example("a: |\n  # no comment\n b")
@example("${a: b}: 'c")
def test_the_pieces_are_the_text(text: str) -> None:
    found = pieces(text)
    assert "\n".join("".join(part for _, part in line) for line in found) == text
    assert all(part for line in found for _, part in line)


def test_the_battery_flow_line_by_line() -> None:
    text = BESS.read_text("utf-8")
    found = pieces(text)
    assert "\n".join("".join(part for _, part in line) for line in found) == text
    assert [("k", "flow"), ("", ": bess")] in found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("  soc_percent: 70", {"soc_percent": "k", "70": "n"}),
        ("  every: 30s   # often", {"every": "k", "30s": "n", "# often": "c"}),
        ("  - age(temperature_c) < 60s", {"-": "p", "60s": "n"}),
        ('  unit: "%"', {"unit": "k", '"%"': "s"}),
        ("  url: http://host:9100/a#b", {"url": "k"}),
        ("  key: ${BESS_KEY:-a: b}", {"key": "k", "${BESS_KEY:-a: b}": "v"}),
        ("  ${TOPIC:-a/b}: {field: x}", {"${TOPIC:-a/b}": "k", "{": "p", "field": "k", "}": "p"}),
        ("  at: 12:30", {"at": "k"}),
        ("  name: it's 5", {"name": "k", "5": "n"}),
        ('  "a b": 0xFF', {'"a b"': "k", "0xFF": "n"}),
        ("  na: [-1, 1.5e3, abc]", {"na": "k", "[": "p", "-1": "n", "1.5e3": "n", ",": "p", "]": "p"}),
    ],
)
def test_what_a_piece_is(line: str, found: dict[str, str]) -> None:
    assert kinds(line) == found


def test_a_block_text_goes_on_as_long_as_it_is_deeper() -> None:
    found = pieces("note: |\n  a: 1\n\n  # b\nnext: 2")
    assert [line[0][0] if line else "" for line in found] == ["k", "s", "", "s", "k"]


# ---- the lines of a node -------------------------------------------------------------------------------------------


def test_every_node_of_the_battery_flow_has_its_lines() -> None:
    text = BESS.read_text("utf-8")
    graph = check_flows({"bess.yaml": text}, {}, Registry()).graph
    assert graph is not None
    lines = text.split("\n")
    for one in graph.nodes.values():
        first, last = span(lines, one.line)
        assert lines[first - 1].startswith(f"  {one.id}:")
        assert all(line.startswith("   ") or not line.strip() for line in lines[first:last])
        assert lines[last - 1].strip()
        assert not lines[last - 1].lstrip().startswith("#")
        behind = next(line for line in lines[last:] if line.strip() and not line.lstrip().startswith("#"))
        assert len(behind) - len(behind.lstrip()) <= 2


@given(PARTS, st.integers(-2, 12))
def test_a_span_is_within_the_text_or_what_was_asked(text: str, first: int) -> None:
    lines = text.split("\n")
    begin, last = span(lines, first)
    assert begin == first
    assert begin <= last
    assert last <= len(lines) or (begin, last) == (first, first)


# ---- a newer file that was refused ---------------------------------------------------------------------------------

SECRETS = """flow: site
nodes:
  a:
    type: http-in
    api_key: hunter2-hunter2
    password: "hunter2 # hunter2"
    broker: mqtt://someone:hunter2@host:1883
    username: ${SITE_USER:-}
    token: ${SITE_TOKEN:-hunter2}
    key: "${SITE_KEY}"
  b: {type: http-poll, headers: {Authorization: hunter2, X-Site: 'hunter2'}, url: http://host/a}
  c:
    headers:
      X-Token: |
        hunter2
        hunter2
    body: "{a}"
    token:
      hunter2
    secret: "hunter2
      hunter2"
  d: {route: GET /d, api_key: "hunter2
      hunter2"}
"""


def test_what_may_be_a_secret_is_not_in_an_excerpt() -> None:
    found = "\n".join(newer.veiled(SECRETS.split("\n")))
    assert "hunter2" not in found
    assert "type: http-poll" in found
    assert "url: http://host/a" in found
    assert "${SITE_USER}" in found
    assert "${SITE_TOKEN:-***}" in found
    assert '"${SITE_KEY}"' in found
    assert found.count("\n") == SECRETS.count("\n")


@given(st.text(alphabet="ab: {}\n'\"#|", max_size=40), st.sampled_from(["password", "api_key", "X-API-Key", "token"]))
def test_a_secret_behind_its_name_is_never_shown(before: str, name: str) -> None:
    lines = newer.veiled(f"{before}\n  {name}: hunter2".split("\n"))
    assert "hunter2" not in lines[-1]


def test_only_a_file_that_calls_itself_the_flow_is_shown(tmp_path: Path) -> None:
    plain = str
    file = tmp_path / "site.yaml"
    assert newer.read(str(file), "site", plain) == []
    file.write_text("root:x:0:0\n", "utf-8")
    assert newer.read(str(file), "site", plain) == []
    file.write_text("flow: other\n", "utf-8")
    assert newer.read(str(file), "site", plain) == []
    file.write_text("flow: site  # ours\nnodes: [\n", "utf-8")
    assert newer.read(str(file), "site", plain) == ["flow: site  # ours", "nodes: [", ""]
    other = tmp_path / "site.txt"
    other.write_text("flow: site\n", "utf-8")
    assert newer.read(str(other), "site", plain) == []
    file.write_bytes(b"flow: site\n\xff\xfe")
    assert newer.read(str(file), "site", plain) == []


def test_an_excerpt_is_two_lines_around() -> None:
    lines = [f"a{number}: {number}" for number in range(1, 8)]
    first, shown = newer.excerpt(lines, 2)
    assert first == 1
    assert [_text(line) for line in shown] == lines[:4]
    first, shown = newer.excerpt(lines, 7)
    assert first == 5
    assert [_text(line) for line in shown] == lines[4:]
    assert newer.excerpt(lines, 8) == (8, [])


def _text(line: list[Piece]) -> str:
    return "".join(text for _, text in line)
