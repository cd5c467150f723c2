"""What is made of a graph, made once for each graph that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from flowrunner.graph import Graph

T = TypeVar("T")


class OncePerGraph(Generic[T]):
    """``of(graph)``: what ``make`` makes of it. Of the newest graph it is kept; a reload brings another one."""

    def __init__(self, make: Callable[[Graph], T]) -> None:
        self._make = make
        self._kept: tuple[Graph, T] | None = None

    def of(self, graph: Graph) -> T:
        if self._kept is None or self._kept[0] is not graph:
            self._kept = graph, self._make(graph)
        return self._kept[1]
