"""What must not be in the repository: paths of somebody's machine, and secrets that work unless changed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MACHINE_PATH = re.compile(r"(?<![\w.:/$}~-])/(?:work|root|home/[a-z]\w*|Users/[A-Za-z]\w*)/[\w.]")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
SECRET = r"\w*(?:KEY|PASSWORD|TOKEN|SECRET)"
SECRET_DEFAULT = [
    re.compile(rf"\$\{{{SECRET}:?-[^}}]"),  # ${BESS_API_KEY:-changeme} in flows, compose and scripts
    re.compile(rf"""(?:environ\.get|getenv)\(\s*["']{SECRET}["']\s*,\s*["'][^"']"""),
    re.compile(rf"^\s*(?:ENV|ARG)\s+{SECRET}=\S", re.MULTILINE),
]


def findings(name: str, text: str) -> Iterator[str]:
    patterns = [("a path of one machine", MACHINE_PATH), ("a private key", PRIVATE_KEY)]
    if not name.startswith("tests/"):  # tests make secrets up
        patterns += [("a secret with a default", pattern) for pattern in SECRET_DEFAULT]
    for what, pattern in patterns:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{line}: {what}: {match[0].strip()}"


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git"), reason="which files are committed only git knows"
)
def test_no_file_names_a_machine_or_a_working_secret() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert "pyproject.toml" in names
    found = [
        finding for name in names for finding in findings(name, (ROOT / name).read_text("utf-8", errors="replace"))
    ]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "work/main/x",
        'open("/' + 'root/.config")',
        "cd /" + "home/anna/flowrunner",
        "api_key: ${BESS_API_KEY:-changeme}",
        "${EXCHANGE_TOKEN-abc}",
        'os.environ.get("BESS_API_KEY", "test")',
        "ENV BESS_MQTT_PASSWORD=bess",
        "-----BEGIN RSA " + "PRIVATE KEY-----",
    ],
)
def test_found(text: str) -> None:
    assert list(findings("flows/some.yaml", text))


@pytest.mark.parametrize(
    "text",
    [
        "api_key: ${BESS_API_KEY:-}",
        "${BESS_API_KEY:?set it in .env}",
        "http://host/work/of/art and ./root/x and ~/work/y, /data, /tmp/x",
        'os.environ.get("BESS_API_KEY", "")',
        "${BESS_MODBUS_PORT:-502}",
    ],
)
def test_not_found(text: str) -> None:
    assert not list(findings("flows/some.yaml", text))
