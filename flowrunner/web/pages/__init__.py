"""The pages that people look at. A page is a module here with ``pages(face)`` and ``WORDS``, listed in ``MODULES``."""

from __future__ import annotations

from types import ModuleType

from flowrunner.web.pages import dashboard, events, flow, login, order_story, system
from flowrunner.web.pages.face import Face, Page

MODULES: tuple[ModuleType, ...] = (dashboard, flow, events, order_story, system, login)


def every_page(face: Face) -> list[Page]:
    """The pages of all modules."""
    return [page for module in MODULES for page in module.pages(face)]
