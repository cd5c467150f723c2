"""The arguments of ``flowrunner users`` and ``flowrunner keys``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
AddData: TypeAlias = Callable[[argparse.ArgumentParser], None]
"""Adds --data."""
ROLES = ("viewer", "operator", "editor")
COMMANDS = (
    *(f"users {what}" for what in ("add", "list", "remove", "role", "password")),
    *(f"keys {what}" for what in ("add", "list", "remove")),
)
"""Those of two words."""
USERS_EPILOG = """\
A viewer sees everything and changes nothing. An operator also enters values, acknowledges alarms and stops trading. An
editor also reloads files and puts dead letters back. While there is neither a user nor a key nor FLOWRUNNER_API_KEY, an
engine on loopback is open to everybody on its machine.

All works while an engine runs, which sees it within a second; before the first start, with --data DIR. Another password
or role ends all sessions of a user.
"""
KEYS_EPILOG = """\
For programs: scrapers, other systems, `flowrunner top` from elsewhere. Send a key as X-API-KEY, or as a bearer token.
Only its hash is kept: one that is lost is removed, and another one made. The roles are those of users.
"""


def add(commands: Commands, data: AddData) -> None:
    """The parsers of these commands."""
    _users(commands, data)
    _keys(commands, data)


def _users(commands: Commands, data: AddData) -> None:
    told = {
        "users": ("people who may use the pages", "List the users of an engine."),
        "users add": ("let somebody in", "Add a user, who logs in with a name and a password."),
        "users list": ("list them", "List the users of an engine."),
        "users remove": ("let somebody in no more", "Remove a user; all sessions end."),
        "users role": ("give another role", "Give a user another role; all sessions end."),
        "users password": ("give another password", "Give a user another password; all sessions end."),
    }
    made = _parsers(commands, told, {"users": USERS_EPILOG})
    for name in ("users add", "users remove", "users role", "users password"):
        made[name].add_argument("name", metavar="NAME", help="letters, digits and . _ @ -, in small letters")
    made["users add"].add_argument("--role", choices=ROLES, required=True, help="what it may")
    made["users role"].add_argument("role", metavar="ROLE", choices=ROLES, help="viewer, operator or editor")
    says = "take the first line of this file as the password; -: of standard input (default: ask, twice)"
    for name in ("users add", "users password"):
        made[name].add_argument("--password-file", type=Path, metavar="FILE", help=says)
    _listing(made["users"], made["users list"])
    for parser in made.values():
        data(parser)


def _keys(commands: Commands, data: AddData) -> None:
    told = {
        "keys": ("keys of programs", "List the keys of an engine, never a key itself."),
        "keys add": ("make one, and print it once", "Make a key for a program and print it: it is not shown again."),
        "keys list": ("list them", "List the keys of an engine, never a key itself."),
        "keys remove": ("let one in no more", "Remove a key; who uses it is refused from now on."),
    }
    made = _parsers(commands, told, {"keys": KEYS_EPILOG})
    for name in ("keys add", "keys remove"):
        made[name].add_argument("name", metavar="NAME", help="letters, digits and . _ @ -, in small letters")
    made["keys add"].add_argument("--role", choices=ROLES, required=True, help="what it may")
    _listing(made["keys"], made["keys list"])
    for parser in made.values():
        data(parser)


def _parsers(
    commands: Commands, told: Mapping[str, tuple[str, str]], epilogs: Mapping[str, str]
) -> dict[str, argparse.ArgumentParser]:
    """By name. ``told``: name → (what the list of commands says, description)."""
    return {
        name: commands.add_parser(
            name, prog=f"flowrunner {name}", allow_abbrev=False, help=says, description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter, epilog=epilogs.get(name),
        )
        for name, (says, description) in told.items()
    }  # fmt: skip


def _listing(*parsers: argparse.ArgumentParser) -> None:
    for parser in parsers:
        parser.add_argument(
            "--format", choices=("text", "json"), default="text", help="text for people, json for tools"
        )
