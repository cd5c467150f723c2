"""Passwords: their hashes (Argon2id, RFC 9106), and what is too weak to be one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from flowrunner.errors import UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST, LONGEST = 12, 1000
"""Characters. Where a password is all there is, length is what counts (NIST SP 800-63B-4, 3.1.1.2)."""
PASSES, MEMORY_KIB, LANES = 1, 47_104, 1
"""46 MiB and one pass (OWASP, "Password Storage": Argon2id): about 50 ms of one processor, in a thread of its own that
the flows' loop does not wait for."""
DECOY = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${'A' * 22}${'A' * 43}"
"""Of nobody's password: a name that there is not costs the same time as a wrong password."""


@functools.cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # late: only who logs in needs it, and start-up is dear

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


def hashed(password: str) -> str:
    """The hash with its salt and parameters. Takes tens of milliseconds."""
    return _hasher().hash(password.encode("utf-8", "surrogatepass"))


def fits(password: str, kept: str) -> bool:
    """Whether this is the password of the hash ``kept``. Takes tens of milliseconds whatever it is."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(kept, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):  # the latter: somebody has edited the file
        return False


def checked(password: str, name: str) -> str:
    """The password. UsageError where it is too weak; the text never holds it."""
    if len(password) < SHORTEST:
        raise UsageError(f"the password has {len(password)} characters; take at least {SHORTEST}: four words will do")
    if len(password) > LONGEST:
        raise UsageError(f"the password has {len(password)} characters; at most {LONGEST} are taken")
    if len(set(password)) < 5 or (name in password.lower() and len(password) < len(name) + SHORTEST // 2):
        raise UsageError("the password can be guessed: it is a few signs again and again, or little more than the name")
    return password
