"""flowrunner: automation as text, checked before it runs."""

__version__ = "0.1.0"
