"""What the words of a command line mean: each says in a sentence why a word is not what it should be."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path


def node_file(text: str) -> tuple[str, Path]:
    node, equals, file = text.partition("=")
    if not (node and equals and file):
        raise argparse.ArgumentTypeError(f"{text!r} is not NODE=FILE, like rest=telemetry.csv")
    return node, Path(file)


def step(text: str) -> int:
    from flowrunner.units import Duration  # late: --help needs nothing of it

    try:
        return Duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def grace(text: str) -> float:
    """Seconds."""
    seconds = step(text) / 1e9
    if seconds > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than an hour; a stop has an end")
    return seconds


def speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.01 <= speed <= 1000:  # beyond, values are older than their limits before a machine has judged them
        raise argparse.ArgumentTypeError(f"{text!r} is not a speed (0.01 to 1000; 60: an hour takes a minute)")
    return speed


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write it without a unit, like 20") from None


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text[:9])


def letter(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:17]) <= 2**53:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a dead letter")
    return int(text)


def day(text: str) -> datetime.date:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        day = datetime.date.min
    if not 1970 <= day.year <= 2200:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day, like 2025-01-25")
    return day


def port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)
