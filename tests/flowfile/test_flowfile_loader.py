"""YAML 1.2 as people and tools write it: the right values at the right places, and never a crash."""

from __future__ import annotations

import math
import time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowrunner.errors import Mark
from flowrunner.flowfile import Branch, Items, Leaf, Tree, load
from flowrunner.flowfile.loader import MAX_DEPTH, scalar


def data_of(tree: Tree) -> object:
    if isinstance(tree, Branch):
        return {key: data_of(value) for key, value in tree.items.items()}
    if isinstance(tree, Items):
        return [data_of(item) for item in tree.items]
    return tree.value


def value_of(text: str) -> object:
    document = load(f"key: {text}\n", "f.yaml")
    assert document.problems == []
    return data_of(document.root.items["key"])


def only_problem(text: str) -> str:
    (problem,) = load(text, "f.yaml").problems
    return str(problem)


# ---- scalars of YAML 1.2 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("y", "y"), ("true", True), ("True", True),
        ("TRUE", True), ("tRUE", "tRUE"), ("false", False), ("~", None), ("null", None), ("NULL", None), ("", None),
        ("nil", "nil"), ("12:30", "12:30"), ("12:30:45", "12:30:45"), ("2025-01-25", "2025-01-25"), ("1e3", 1000.0),
        ("1E+3", 1000.0), ("-1.5e-3", -0.0015), ("0xFF", 255), ("0xfF", 255), ("010", 10), ("0o17", 15), ("0o8", "0o8"),
        ("-0x1", "-0x1"), ("0b1", "0b1"), ("1_000", "1_000"), (".5", 0.5), ("5.", 5.0), ("+3", 3), ("-0", 0),
        ("1.2.3", "1.2.3"),
        ("٣", "٣"), ("½", "½"), ("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63)), ("=", "="),
        ("'on'", "on"), ('"0x10"', "0x10"), ("'~'", "~"), ("'1'", "1"), ('"a\\tb"', "a\tb"), ("<<", "<<"),
        ("1 # one", 1),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", [".inf", "-.INF", ".nan", "1e999", "18446744073709551616", "-9223372036854775809", "9" * 5000]
)
def test_no_number_that_is_none(text: str) -> None:
    assert "f.yaml:1:6: key: " in only_problem(f"key: {text}")


@settings(deadline=None)
@given(st.text(max_size=12))
def test_a_scalar_is_what_it_is_or_text(text: str) -> None:
    try:
        value = scalar(text)
    except ValueError:
        return
    assert value == text or not isinstance(value, str)


# ---- documents ---------------------------------------------------------------------------------------------

SAFE_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"), max_size=20
)
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | SAFE_TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(SAFE_TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.dictionaries(SAFE_TEXT.filter(lambda key: key != "<<"), JSONS, min_size=1, max_size=4),
    st.sampled_from([None, True, False]),
)
@example({"a": "on", "b": "12:30", "c": "0o17", "d": "1e3", "e": "~", "f": ""}, False)
def test_what_is_dumped_is_read(data: dict[str, object], flow_style: bool | None) -> None:
    """Quoted texts, as a dumper writes them, mean the same in YAML 1.1 and 1.2; so do its numbers."""

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    text = yaml.dump(data, Dumper=Dumper, allow_unicode=True, default_flow_style=flow_style)
    document = load(text, "f.yaml")
    assert document.problems == []
    assert data_of(document.root) == data


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.integers(), min_size=1))
def test_every_value_and_key_has_its_place(data: dict[str, int]) -> None:
    text = "".join(f"{'#' * (index % 3)}\n{key}:   {value % 100}\n" for index, (key, value) in enumerate(data.items()))
    document = load(text, "f.yaml")
    lines = text.splitlines()
    for key, value in document.root.items.items():
        place = document.root.keys[key]
        assert lines[place.line - 1].startswith(key)
        assert place.column == 1
        assert isinstance(value, Leaf)
        assert lines[value.mark.line - 1][value.mark.column - 1 :] == value.text


def test_columns_count_characters_and_lines_end_in_every_way() -> None:
    document = load("\ufeffä°C€𝄞: {ß: 1}\r\nb: 2\rc: 3\n", "f.yaml")
    inner = document.root.items["ä°C€𝄞"]
    assert isinstance(inner, Branch)
    assert inner.keys["ß"] == Mark(1, 9)
    assert document.root.keys == {"ä°C€𝄞": Mark(1, 1), "b": Mark(2, 1), "c": Mark(3, 1)}


# ---- anchors, merges, duplicates ------------------------------------------------------------------------------


def test_merge_keys_as_the_type_repository_says() -> None:
    document = load(
        "base: &b {a: 1, b: 2}\nother: &o {b: 3, c: 4}\n"
        "one: {<<: *b, b: 9}\ntwo: {<<: [*o, *b], d: 5}\nlate:\n  a: 7\n  <<: *b\n",
        "f.yaml",
    )
    assert document.problems == []
    data = data_of(document.root)
    assert isinstance(data, dict)
    assert data["one"] == {"a": 1, "b": 9}
    assert data["two"] == {"b": 3, "c": 4, "a": 1, "d": 5}
    assert data["late"] == {"a": 7, "b": 2}


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "{a: 1, 'a': 2}\n", '{a: 1, "\\x61": 2}\n'])
def test_a_duplicate_names_both_places(text: str) -> None:
    (problem,) = load(text, "f.yaml").problems
    assert problem.code == "duplicate-key"
    assert problem.hint == "the first is at line 1, column " + ("2" if text[0] == "{" else "1")


def test_a_key_named_like_a_merge_can_be_quoted() -> None:
    document = load('"<<": 1\n', "f.yaml")
    assert data_of(document.root) == {"<<": 1}


# ---- hostile text ----------------------------------------------------------------------------------------------

YAML_LIKE = st.lists(
    st.sampled_from([*"ab:-{}[],&*!|>'\"%@`#?~$ \n\t\r\x00\x07\u2028é\ud800", "${", "<<: ", "---\n", "&a ", "*a"])
).map("".join)


@settings(deadline=None)
@given(YAML_LIKE | st.text())
def test_any_text_gives_a_tree_or_problems(text: str) -> None:
    document = load(text, "f.yaml")
    assert document.root.items or document.problems or not text.strip() or "{" in text
    for problem in document.problems:
        assert problem.message
        assert problem.line >= 1
        assert problem.column >= 1


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB, MERGE_BOMB, "[" * 100_000, "{a: " * 50_000, "- " * 50_000, "? " * 50_000, "[a," * 50_000, "[]" * 5000,
        "\n".join(" " * n + "a:" for n in range(1000)), "{" + "${" * 20_000, "a: " * 20_000, "'" * 99_999,
        "&a " * 20_000, "a: &a [*a, *a]\n", "a: " + "(" * 50_000 + "\n", "{a: (" + ", b" * 20_000 + "}",
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_bombs_fizzle_out(text: str) -> None:
    begun = time.perf_counter()
    assert load(text, "f.yaml").problems or text.startswith("a: (")
    assert time.perf_counter() - begun < 5


def test_the_deepest_that_is_read() -> None:
    def nested(depth: int) -> str:
        return "a: " + "[" * (depth - 1) + "]" * (depth - 1)

    assert load(nested(MAX_DEPTH), "f.yaml").problems == []
    assert "nested too deep" in only_problem(nested(MAX_DEPTH + 2))
    assert "nested too deep" in only_problem(nested(900))


def test_brackets_in_text_are_not_depth() -> None:
    assert load("a: '" + "[" * 1000 + "'\n", "f.yaml").problems == []


def test_an_expression_that_a_comma_cuts_is_put_together_again() -> None:
    text = only_problem("a: {when: max(min(x, y), between(z, 1, 2)) > 3, b: 1}\n")
    assert text.startswith("f.yaml:1:11: a.when: this is cut at its comma")
    assert text.endswith('must be quoted: "max(min(x, y), between(z, 1, 2)) > 3"')
    assert "quoted: 'max(x == \"a\", y)'" in only_problem('a: {when: max(x == "a", y), b: 1}\n')


def test_a_key_without_a_value_is_no_expression() -> None:
    document = load("a: {b, c: 1}\n", "f.yaml")
    assert data_of(document.root) == {"a": {"b": None, "c": 1}}
    assert document.problems == []


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_to_the_last_bit(value: float) -> None:
    found = scalar(repr(value))
    assert isinstance(found, float)
    assert math.copysign(1, found) == math.copysign(1, value)
    assert found == value
