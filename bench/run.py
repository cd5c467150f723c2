"""``./x bench``: what start-up, messages, requests, reloads and memory cost here, flowrunner beside Node-RED.

Each figure is the median of several runs, and both take turns in one run; absolute times depend on the machine, so
compare figures of one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile

from bench import node_red
from bench.figure import HEAD, line, measured
from bench.table import figures
from flowrunner import __version__


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./x bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs per figure (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--list", action="store_true", help="print the names of the figures and measure nothing")
    parser.add_argument("--alone", action="store_true", help="without Node-RED")
    parser.add_argument("--only", metavar="WORDS", default="", help="only figures whose names hold these words")
    parser.add_argument(
        "--without", metavar="WORDS", action="append", default=[], help="all but figures with these words; repeatable"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as compiled:  # as it is where a program is installed, whatever this shell says
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Print a table line by line, or one JSON object."""
    chosen = [
        one for one in figures() if options.only in one.name and not any(words in one.name for words in options.without)
    ]
    if options.list:
        print("\n".join(one.name for one in chosen))
        return
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}"
    if not options.json:
        print(f"flowrunner {__version__}, Python {platform.python_version()}; Node-RED {node_red.VERSION}; {machine}")
        print(f"medians of {options.runs} runs, of long ones {min(options.runs, 3)}\n\n{HEAD}", flush=True)
    rows = {}
    for one in chosen:
        rows[one.name] = row = measured(one, options.runs, alone=options.alone)
        if not options.json:
            print(line(row), flush=True)
    if options.json:
        print(json.dumps({name: row.plain() for name, row in rows.items()}))


if __name__ == "__main__":
    main()
