"""Reading the pages of docs/: their tables."""

from __future__ import annotations

import msgspec


def rows(page: str, head: str) -> dict[str, list[str]]:
    """The table of ``page`` whose first column is headed so, by that column, without code marks."""
    lines = page.partition(f"| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split(" |")] for line in lines]
    return {first.replace("`", ""): rest for first, *rest in cells}


def options(kind: type) -> set[str]:
    """The names of its options, as a file has them."""
    return {one.encode_name for one in msgspec.structs.fields(kind)}
