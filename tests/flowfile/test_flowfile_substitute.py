"""``${…}``: values never change the structure, leaves get the type that is asked for, secrets are never shown."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.flowfile import Branch, Document, Leaf, load, substitute
from flowrunner.graph import Checked, Graph, check_flows
from flowrunner.registry import Registry

REGISTRY = Registry()
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
METACHARACTERS = st.lists(
    st.sampled_from(
        [
            "a",
            "1",
            ": ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "#",
            " #",
            "&x ",
            "*x",
            "!!int ",
            "|",
            ">",
            "'",
            '"',
            "%",
            "@",
            "\n",
            "\t",
            "  ",
            "${A}",
            "$${",
            "<<",
            "? ",
            "---\n",
            "true",
            "~",
        ]
    )
).map("".join)


def put_in(text: str, **environment: str) -> Document:
    document = load(text, "f.yaml")
    substitute(document, environment)
    return document


def leaf(document: Document, key: str = "key") -> Leaf:
    tree = document.root.items[key]
    assert isinstance(tree, Leaf)
    return tree


def text_of(text: str, **environment: str) -> str:
    document = put_in(text, **environment)
    assert document.problems == []
    return leaf(document).text


# ---- structure --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(VALUES | METACHARACTERS)
def test_no_value_changes_the_structure(value: str) -> None:
    document = put_in("a: ${X}\nb: pre ${X} post\nc: ['${X}', {d: \"${X}\"}]\ne: end\n", X=value)
    assert list(document.root.items) == ["a", "b", "c", "e"]
    assert document.problems == []
    assert leaf(document, "b").text == f"pre {value} post"
    assert leaf(document, "b").value == f"pre {value} post"
    assert leaf(document, "a").text == value
    assert leaf(document, "e").value == "end"


@settings(deadline=None)
@given(VALUES | METACHARACTERS)
def test_a_value_in_a_key_is_only_a_key(value: str) -> None:
    tree = put_in("map:\n  '${X:-none}': 1\n  last: 2\n", X=value).root.items["map"]
    assert isinstance(tree, Branch)
    assert list(tree.items) == list(dict.fromkeys([value or "none", "last"]))


@settings(deadline=None)
@given(METACHARACTERS)
def test_any_text_with_substitutions_ends(text: str) -> None:
    document = load("key: ''\n", "f.yaml")
    leaf(document).value = leaf(document).text = text + "${" + text
    substitute(document, {"A": text})
    assert document.problems


@settings(deadline=None)
@given(st.text(st.sampled_from("${}:-?AB a")))
def test_any_substitution_ends(text: str) -> None:
    document = load("key: ''\n", "f.yaml")
    leaf(document).value = leaf(document).text = text
    substitute(document, {"A": "x"})
    for problem in document.problems:
        assert problem.code in ("substitution", "missing-variable")
    if not document.problems:
        assert "${" not in leaf(document).text or "$${" in text


# ---- the forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A:-d}", {"A": "x"}, "x"),
        ("${A:-}", {}, ""),
        ("${A}", {"A": ""}, ""),
        ("${A:?why}", {"A": "x"}, "x"),
        ("${A:-${B:-${C:-c}}}", {}, "c"),
        ("${A:-${B:-${C:-c}}}", {"B": "b"}, "b"),
        ("${A:-${B}:${C:-1}}", {"B": "b"}, "b:1"),
        ("${A:-a-b:-c}", {}, "a-b:-c"),
        ("mqtt://${A}:${B:-1883}/x", {"A": "host"}, "mqtt://host:1883/x"),
        ("$${A}", {"A": "x"}, "${A}"),
        ("$${A}${A}", {"A": "x"}, "${A}x"),
        ("${A}$${A}", {"A": "x"}, "x${A}"),
        ("${A:-$${B}}", {}, "${B}"),
        ("$$", {}, "$$"),
        ("$A {A} $", {"A": "x"}, "$A {A} $"),
        ("${A}", {"A": "${B}", "B": "never"}, "${B}"),
    ],
)
def test_forms(text: str, environment: dict[str, str], expected: str) -> None:
    assert text_of(f"key: '{text}'\n", **environment) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${A}", "A is not set in the environment"),
        ("${A:?}", "A is not set: it is required"),
        ("${A:?set it in .env}", "A is not set: set it in .env"),
        ("${A:-${B}}", "B is not set in the environment"),
        ("${A-d}", "${A-d} is not a substitution\n    a default is written ${A:-d}"),
        ("${}", "${} is not a substitution"),
        ("${A b}", "${A b} is not a substitution"),
        ("${1}", "${1} is not a substitution"),
        ("${a}", "there is no var 'a'"),
        ("${aB}", "'aB' mixes upper and lower case"),
        ("${secret:}", "${secret:} is not a substitution"),
        ("${secret:../shadow}", "${secret:../shadow} is not a substitution"),
        ("${secret:..}", "'..' is not the name of a secret"),
        ("x ${A", "a ${ is not closed in 'x ${A'"),
        ("${A:-${B}", "a ${ is not closed"),
        ("${A:-" * 12 + "}" * 12, "more than 10 defaults inside each other"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    (problem,) = put_in(f"key: '{text}'\n").problems
    assert says in str(problem)
    assert (problem.line, problem.column) == (1, 7 + text.index("${"))


def test_each_variable_of_a_text_is_reported_at_its_own_place() -> None:
    document = put_in("key: ${A}-${B:-b}-${C}\n")
    assert [(one.column, one.message.split()[0]) for one in document.problems] == [(6, "A"), (19, "C")]
    assert leaf(document).broken


def test_vars_are_lower_case_and_in_order() -> None:
    document = put_in("vars: {a: '${A:-1}', b: 'x${a}'}\nkey: ${b}\nother: ${A:-env}\n")
    assert document.problems == []
    assert leaf(document).text == "x1"
    assert leaf(document, "other").text == "env"
    (problem,) = put_in("vars: {a: '${b}', b: 1}\n").problems
    assert "there is no var 'b'" in problem.message


def test_bytes_that_are_no_text_are_refused() -> None:
    (problem,) = put_in("key: ${A}\n", A="\udcff").problems
    assert (problem.code, problem.message) == ("encoding", "the value of A is not UTF-8 text")


# ---- types ----------------------------------------------------------------------------------------------------


def graph_of(text: str, **environment: str) -> Graph:
    checked = check_flows({"f.yaml": text}, environment, REGISTRY)
    assert checked.problems == []
    assert checked.graph is not None
    return checked.graph


DEVICE = """flow: f
nodes:
  device:
    type: modbus-in
    host: ${HOST}
    port: ${PORT}
    enabled: ${ENABLED:-true}
    note: ${NOTE:-}
    every: ${EVERY:-1}s
    registers: {a: {address: "${ADDRESS}", scale: "${SCALE:-1}", type: "${TYPE:-uint16}"}}
"""


@settings(deadline=None)
@given(st.sampled_from(["0123", "1e3", "true", "null", "~", "0x10", "12:30", ".5", "on", "[]", "a: b"]))
def test_a_leaf_takes_the_type_of_its_option(value: str) -> None:
    host = value if ":" not in value else "device"  # a host with a port in it is refused
    graph = graph_of(DEVICE, HOST=host, PORT="502", ADDRESS="0x10", SCALE="1e-1", NOTE=value, EVERY="0.5")
    options = graph.nodes["f/device"].node.options
    assert options.host == host
    assert options.port == 502
    assert options.every.seconds == 0.5
    register = options.registers["a"]
    assert (register.address, register.scale, register.type) == (16, 0.1, "uint16")
    assert graph.nodes["f/device"].shown["note"] == value


@pytest.mark.parametrize("port", ["", "5O2", "502.5", "1e9", "true", "null", ".inf", "0b1", "502 503", "1_000"])
def test_what_does_not_become_the_type_is_refused_by_name(port: str) -> None:
    checked = check_flows({"f.yaml": DEVICE}, {"HOST": "h", "PORT": port, "ADDRESS": "0"}, REGISTRY)
    (problem,) = checked.problems
    assert (problem.line, problem.path) == (6, "device.port")
    assert problem.message.endswith("(from PORT)")


# ---- secrets ----------------------------------------------------------------------------------------------------

SECRETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n"), min_size=4, max_size=24)

LEAKS = """flow: f
timezone: ${secret:one}
vars: {pass: "${secret:one}", limit: "${PASSWORD}"}
nodes:
  a: {type: "${secret:one}"}
  b: {type: mqtt-in, broker: "mqtt:${secret:one}", topic: "#/${secret:one}/#", qos: "${secret:one}"}
  c: {type: modbus-in, host: h, every: "${secret:one}", port: "${PASSWORD}", registers: {"${secret:one}": {address: 0}}}
  d: {type: log, from: "${secret:one}", text: "{${secret:one}}", level: "${PASSWORD}", note: "${secret:one}"}
  e: {type: http-in, route: "${PASSWORD}", rate_limit: "${PASSWORD}", body: "${secret:one}"}
  f: {type: inject, at: "${pass}", enabled: "${limit}"}
  g: {type: filter, from: ["c.${secret:one}"], when: "x < ${secret:one}"}
  "${secret:one}": {type: log}
"""


def spellings(value: str) -> set[str]:
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1]}


def assert_unseen(checked: Checked, secret: str, *innocent: str) -> None:
    """Neither the secret as a whole, nor where it is spelled with escapes."""
    for problem in checked.problems:
        for text in (problem.message, problem.hint, problem.path, str(problem)):
            for spelled in spellings(secret):
                assert spelled not in text or any(spelled in one for one in innocent), text


@settings(deadline=None)
@given(value=SECRETS)
def test_no_problem_shows_a_secret(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "one").write_text(value, encoding="utf-8", newline="")
    clean = check_flows({"f.yaml": LEAKS}, {"FLOWRUNNER_SECRETS": str(folder), "PASSWORD": value}, REGISTRY)
    (folder / "one").write_text("\ue000" * 5, encoding="utf-8")  # whatever is said of a secret that occurs nowhere else
    usual = check_flows({"f.yaml": LEAKS}, {"FLOWRUNNER_SECRETS": str(folder), "PASSWORD": "\ue000" * 5}, REGISTRY)
    assert_unseen(clean, value, *(str(problem) for problem in usual.problems))
    assert clean.graph is None


GOOD = """flow: f
vars: {pass: "${secret:one}"}
nodes:
  a: {type: mqtt-in, broker: mqtt://h, username: "${secret:one}", password: "${PASSWORD:-}", topic: "x/${secret:one}"}
  b: {type: modbus-in, host: "${secret:one}", note: "${pass} ${A_TOKEN:-}", registers: {x: {address: 0}}}
  c: {type: http-in, route: GET /x, api_key: literally-a-key, note: "literally-a-key"}
"""


@settings(deadline=None)
@given(value=st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True))
def test_what_is_shown_of_a_flow_holds_no_secret(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    value = f"Q{value}Q"  # a text that stands nowhere else
    folder = tmp_path_factory.getbasetemp()
    (folder / "one").write_text(value + "\n", encoding="utf-8")
    graph = graph_of(GOOD, FLOWRUNNER_SECRETS=str(folder), PASSWORD=value, A_TOKEN=value)
    shown = msgspec.json.encode(
        [[node.shown for node in graph.nodes.values()], [head.vars for head in graph.flows.values()]]
    )
    assert value not in shown.decode()
    assert "literally-a-key" not in shown.decode()
    assert graph.nodes["f/a"].node.options.username == value  # what runs has it
    assert graph.nodes["f/b"].node.options.host == value
    assert graph.nodes["f/b"].vars["pass"] == value
    assert {value, "literally-a-key"} <= graph.secrets


UNSEEN = """flow: f
vars: {site: "${SITE_KEY}", call: "${CALL_TOKEN}"}
nodes:
  a: {type: manual-in, key: "${SITE_KEY}", fields: {v: {}}}
  b: {type: http-out, from: a, url: "https://${KEYCLOAK_HOST}/${site}?token=${call}", ca_file: "${API_KEY_FILE}"}
  c: {type: http-out, from: a, url: "https://h/x", headers: {Authorization: "Bearer ${DB_PASSWORD}"}}
  d: {type: inject, every: "${TOKEN_LIFE}", payload: "${TOKEN_COUNT}"}
"""


def test_what_a_variable_says_is_secret_is_looked_for_everywhere() -> None:
    """Wherever in a text it stands: a server may repeat it. What a variable of such a name says by being a place, a
    number or the key of messages is seen all the same."""
    graph = graph_of(
        UNSEEN, SITE_KEY="north-of-all", CALL_TOKEN="cAll-me-4ever", KEYCLOAK_HOST="login.example.org",
        API_KEY_FILE="/etc/ssl/ca.pem", DB_PASSWORD="correct horse", TOKEN_LIFE="10s", TOKEN_COUNT="12345678",
    )  # fmt: skip
    assert graph.secrets == {"cAll-me-4ever", "correct horse", "Bearer correct horse"}
    shown = graph.nodes["f/b"].shown
    assert shown["url"] == "https://login.example.org/***?token=***"
    assert shown["ca_file"] == "/etc/ssl/ca.pem"


def test_a_short_secret_is_masked_where_it_stands(tmp_path: Path) -> None:
    """Too short to be looked for in every text, but a leaf knows what it holds."""
    (tmp_path / "one").write_text("7")
    device = "type: modbus-in, host: h, port: '${secret:one}', note: 'n${secret:one}', registers: {x: {address: 0}}"
    graph = graph_of(f"flow: f\nnodes:\n  b: {{{device}}}\n", FLOWRUNNER_SECRETS=str(tmp_path))
    shown = graph.nodes["f/b"].shown
    assert (shown["port"], shown["note"]) == ("***", "n***")


def test_a_secret_is_a_secret_through_defaults_and_vars(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("hunter2")
    document = load("vars: {a: '${A:-${secret:one}}', b: 'x${a}'}\nkey: ${B:-${b}}\n", "f.yaml")
    substitute(document, {"FLOWRUNNER_SECRETS": str(tmp_path)})
    assert leaf(document).secrets == ("hunter2",)
    own = document.root.items["vars"]
    assert isinstance(own, Branch)
    assert document.secrets == {"hunter2"}


def test_a_secret_file_loses_one_line_break_only(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a\n\n")
    assert text_of("key: ${secret:one}\n", FLOWRUNNER_SECRETS=str(tmp_path)) == "a\n"


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file or directory"), (b"\xff\xfe", "not UTF-8 text")])
def test_a_secret_that_cannot_be_read(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "one").write_bytes(content)
    (problem,) = put_in("key: ${secret:one}\n", FLOWRUNNER_SECRETS=str(tmp_path)).problems
    assert problem.message == f"the secret 'one' cannot be read: {reason}"
    assert str(tmp_path) in problem.hint
