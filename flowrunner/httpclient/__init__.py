"""The HTTP client: one server, its connections kept open, and failures told apart by whether anything was sent.

Orders rest on that difference: a request of which not one byte left may be made again, one that may have
arrived may not.
"""

from flowrunner.httpclient.address import check_url, header_fault, is_loopback, origin_of, place_of
from flowrunner.httpclient.asked import in_the_open, pause_ns, secrets_in, secrets_of, status_in_words
from flowrunner.httpclient.client import MAX_BODY, Answer, HttpClient
from flowrunner.httpclient.filled import UrlText
from flowrunner.httpclient.progress import NoAnswer
from flowrunner.httpclient.sharing import shared_client

__all__ = [
    "MAX_BODY",
    "Answer",
    "HttpClient",
    "NoAnswer",
    "UrlText",
    "check_url",
    "header_fault",
    "in_the_open",
    "is_loopback",
    "origin_of",
    "pause_ns",
    "place_of",
    "secrets_in",
    "secrets_of",
    "shared_client",
    "status_in_words",
]
