"""The report of a replay as one HTML file: figures, charts and tables, with nothing from outside."""

from flowrunner.replay.page.render import page

__all__ = ["page"]
