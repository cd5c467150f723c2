#!/bin/sh
# Writes the image's two lock files again, after pyproject.toml changed: requirements.lock (what the program runs on)
# and build.lock (what builds its wheel). Needs uv (`pip install uv`). Versions stay as they are where they still
# fit; `deploy/lock.sh --upgrade` takes the newest. The hashes are those that the package index states for every
# file of a version, so one lock fits all processors.
set -eu
cd "$(dirname -- "$0")/.."

lock() {
    uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command deploy/lock.sh "$@" >/dev/null
}

lock --output-file deploy/requirements.lock --extra simulate "$@" pyproject.toml
python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
    lock --output-file deploy/build.lock "$@" -
