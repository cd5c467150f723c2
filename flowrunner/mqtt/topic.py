"""Topics and filters: which are well formed, which match, which cover each other (MQTT 5, section 4.7)."""

from __future__ import annotations

MAX_BYTES = 65535  # a UTF-8 string on the wire has two bytes for its length
SHARE = "$share/"


def check_topic(text: str) -> None:
    """ValueError unless a message can be published on ``text``."""
    _check_text(text, "topic")
    if "+" in text or "#" in text:
        raise ValueError(f"topic {text!r}: + and # stand only in filters; name one topic to publish on")


def check_filter(text: str) -> None:
    """ValueError unless ``text`` can be subscribed to. ``$share/group/filter`` is a shared subscription."""
    _check_text(text, "filter")
    inner = text
    if text == "$share" or text.startswith(SHARE):
        group, _, inner = text.removeprefix(SHARE).partition("/")
        if not group or not inner or "+" in group or "#" in group or text == "$share":
            raise ValueError(f"filter {text!r}: a shared subscription is written $share/group/filter")
    levels = inner.split("/")
    for position, level in enumerate(levels):
        if "#" in level and (level != "#" or position != len(levels) - 1):
            raise ValueError(f"filter {text!r}: # stands alone and last, like plant/#")
        if "+" in level and level != "+":
            raise ValueError(f"filter {text!r}: + stands for one whole level, like plant/+/power")


def matches(pattern: str, topic: str) -> bool:
    """Whether a message on ``topic`` belongs to the filter ``pattern``; for a shared one, to its inner filter.

    Topics that begin with ``$`` (the broker's own) are not matched by a leading wildcard.
    """
    wanted, levels = unshared(pattern).split("/"), topic.split("/")
    if _hidden(wanted[0], levels[0]):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position == len(levels) or level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic of ``narrow`` is certainly one of ``wide`` too. Shared ones cover only themselves."""
    if wide == narrow:
        return True
    if wide.startswith(SHARE) or narrow.startswith(SHARE):
        return False
    outer, inner = wide.split("/"), narrow.split("/")
    if _hidden(outer[0], inner[0]):
        return False
    for position, level in enumerate(outer):
        if level == "#":
            return True
        if position == len(inner) or inner[position] == "#" or level not in ("+", inner[position]):
            return False
    return len(outer) == len(inner)


def overlaps(one: str, other: str) -> bool:
    """Whether some topic belongs to both filters."""
    left, right = unshared(one).split("/"), unshared(other).split("/")
    if _hidden(left[0], right[0]) or _hidden(right[0], left[0]):
        return False
    for mine, theirs in zip(left, right, strict=False):
        if "#" in (mine, theirs):
            return True
        if mine != theirs and "+" not in (mine, theirs):
            return False
    longer = max(left, right, key=len)[min(len(left), len(right)) :]
    return longer in ([], ["#"])


def unshared(pattern: str) -> str:
    """The inner filter of ``$share/group/filter``; any other filter as it is."""
    return pattern.split("/", 2)[2] if pattern.startswith(SHARE) else pattern


def _hidden(pattern_level: str, level: str) -> bool:
    return pattern_level in ("+", "#") and level.startswith("$")


def _check_text(text: str, what: str) -> None:
    if not text:
        raise ValueError(f"the {what} is empty; name one, like plant/power")
    if "\0" in text:
        raise ValueError(f"{what} {text!r}: it must not hold the character U+0000")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text!r}: it holds a character that is no text (a lone surrogate)") from None
    if size > MAX_BYTES:
        raise ValueError(f"the {what} {text[:40]!r}… has {size} bytes; {MAX_BYTES} are allowed")
