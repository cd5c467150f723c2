"""Who asks: people with their sessions, machines with their keys, and what each may do."""

from flowrunner.web.people.person import Person, may
from flowrunner.web.people.register import People

__all__ = ["People", "Person", "may"]
