"""The HTTP client: one server, its connections kept open, and failures told apart by whether anything was sent.

Orders rest on that difference: a request of which not one byte left may be made again, one that may have
arrived may not.
"""

from flowrunner.httpclient.address import check_url, header_fault, is_loopback, origin_of, place_of
from flowrunner.httpclient.client import MAX_BODY, Answer, HttpClient
from flowrunner.httpclient.progress import NoAnswer
from flowrunner.httpclient.sharing import shared_client

__all__ = [
    "MAX_BODY",
    "Answer",
    "HttpClient",
    "NoAnswer",
    "check_url",
    "header_fault",
    "is_loopback",
    "origin_of",
    "place_of",
    "shared_client",
]
