"""What ``flowrunner users`` and ``flowrunner keys`` do: lists read a data folder, all else changes it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from flowrunner import admitting, trading

LISTS: dict[str, Callable[[Path, admitting.Form], None]] = {
    "users": admitting.print_users,
    "users list": admitting.print_users,
    "keys": admitting.print_keys,
    "keys list": admitting.print_keys,
}
CHANGES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "users add": lambda folder, of: admitting.admit_user(folder, of.name, of.role, _password(of)),
    "users remove": lambda folder, of: admitting.dismiss_user(folder, of.name),
    "users role": lambda folder, of: admitting.change_role(folder, of.name, of.role),
    "users password": lambda folder, of: admitting.change_password(folder, of.name, _password(of)),
    "keys add": lambda folder, of: admitting.admit_key(folder, of.name, of.role),
    "keys remove": lambda folder, of: admitting.dismiss_key(folder, of.name),
}


def execute(options: argparse.Namespace) -> None:
    """Do what ``options`` name."""
    listed = LISTS.get(options.command)
    if listed is not None:
        listed(trading.data_folder(options.data), options.format)
    else:
        CHANGES[options.command](trading.the_data_folder(options.data), options)


def _password(options: argparse.Namespace) -> admitting.PasswordFrom:
    return admitting.PasswordFrom(options.password_file)
