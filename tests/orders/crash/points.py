"""Where a victim dies: named points between a rule and the exchange's answer, and every line of code in between.

No hook is in the product's code. The interpreter itself tells of each call (``sys.setprofile``) or line
(``sys.settrace``), in the loop's thread and in the store's.
"""

from __future__ import annotations

import dis
import itertools
import re
import sys
import threading
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FrameType
from typing import Any, NamedTuple

CODE = (
    "/flowrunner/orders/", "/flowrunner/exchange/", "/flowrunner/httpclient/", "/flowrunner/store/",
    "/nodes/risk_guard.py", "/nodes/exchange_out.py", "/flowrunner/runtime/worker.py",
)  # fmt: skip
"""The files in whose lines a victim dies."""
_GUARD, _OUT, _SENDER = "nodes/risk_guard.py RiskGuard", "nodes/exchange_out.py ExchangeOut", "orders/sender.py Sender"
_BOOK, _JOURNAL, _COMMIT = "orders/book.py Book", "orders/journal.py Journal", "store/tables.py transaction"
_PLACE, _ASK = "exchange/phoenyra.py Phoenyra.place", "httpclient/client.py HttpClient.request"
_WIRE, _SENT = "httpclient/progress.py Progress.see", "socket.send"
_ADDED, _SENDING = f"leave {_BOOK}.add", f"leave {_BOOK}.advance state=sending"
_ACCEPTED = f"leave {_BOOK}.advance state=accepted"
_BEGUN = f"enter {_WIRE} event=http11.send_request_headers.started"

POINTS: dict[str, tuple[str, ...]] = {
    # ---- the guard decides
    "the guard is asked": (f"enter {_GUARD}.process",),
    "the switch has been looked at": (f"enter {_GUARD}.process", "leave orders/trading.py Trading.refusal"),
    "the guard asks the journal": (f"enter {_GUARD}.process", f"enter {_JOURNAL}.decide"),
    "the decision's transaction begins": (f"enter {_JOURNAL}.decide", f"enter {_COMMIT}"),
    "the identity has been looked up": (f"enter {_JOURNAL}.decide", f"leave {_BOOK}.find"),
    "the limits have been counted": (f"leave {_BOOK}.held",),
    "the intent is about to be written": (f"enter {_BOOK}.add",),
    "the intent is written": (_ADDED,),
    "before the intent's commit": (_ADDED, f"again {_COMMIT}"),
    "after the intent's commit": (_ADDED, f"leave {_COMMIT}"),
    "the store has told of the intent": (_ADDED, "leave store/writer.py Writer._settle"),
    "the guard knows of its order": (_ADDED, f"leave {_JOURNAL}.decide"),
    "the order leaves the guard": (_ADDED, f"leave {_GUARD}.process"),
    # ---- the journal says sending
    "the order arrives": (f"enter {_OUT}.process",),
    "the sender takes it": (f"enter {_SENDER}.send",),
    "the sender has looked for obstacles": (f"enter {_SENDER}.send", f"leave {_SENDER}._obstacle"),
    "sending is about to be written": (f"enter {_BOOK}.advance state=sending",),
    "sending is written": (_SENDING,),
    "before the commit of sending": (_SENDING, f"again {_COMMIT}"),
    "after the commit of sending": (_SENDING, f"leave {_COMMIT}"),
    "the store has told of sending": (_SENDING, "leave store/writer.py Writer._settle"),
    "the sender knows that it may send": (_SENDING, f"leave {_JOURNAL}.decide"),
    # ---- on the wire
    "the adapter is asked": (f"enter {_PLACE}",),
    "the request is made": (f"enter {_PLACE}", f"enter {_ASK}"),
    "the connection is begun": (f"enter {_PLACE}", f"enter {_WIRE} event=connection.connect_tcp.started"),
    "the connection is there": (f"enter {_PLACE}", f"enter {_WIRE} event=connection.connect_tcp.complete"),
    "the head is about to be sent": (f"enter {_PLACE}", _BEGUN),
    "before the first byte": (f"enter {_PLACE}", _BEGUN, f"before {_SENT}"),
    "after the first bytes": (f"enter {_PLACE}", _BEGUN, f"after {_SENT}"),
    "the head is sent": (f"enter {_PLACE}", f"enter {_WIRE} event=http11.send_request_headers.complete"),
    "before the body's bytes": (
        f"enter {_PLACE}", f"enter {_WIRE} event=http11.send_request_body.started", f"before {_SENT}",
    ),
    "the body is sent": (f"enter {_PLACE}", f"enter {_WIRE} event=http11.send_request_body.complete"),
    "the answer is waited for": (f"enter {_PLACE}", f"enter {_WIRE} event=http11.receive_response_headers.started"),
    "the answer's head is read": (f"enter {_PLACE}", f"enter {_WIRE} event=http11.receive_response_headers.complete"),
    "the answer's body is read": (f"enter {_PLACE}", f"enter {_WIRE} event=http11.receive_response_body.complete"),
    "the answer is complete": (f"enter {_PLACE}", f"leave {_ASK}"),
    "the answer is understood": (f"leave {_PLACE}",),
    # ---- the journal says accepted
    "accepted is about to be written": (f"enter {_BOOK}.advance state=accepted",),
    "accepted is written": (_ACCEPTED,),
    "before the commit of accepted": (_ACCEPTED, f"again {_COMMIT}"),
    "after the commit of accepted": (_ACCEPTED, f"leave {_COMMIT}"),
    "the sender knows that it is accepted": (_ACCEPTED, f"leave {_SENDER}.send"),
    "the order leaves": (_ACCEPTED, f"leave {_OUT}.process"),
    "somebody hears of the order": (_ACCEPTED, "enter nodes/log.py Log.process"),
}  # fmt: skip
"""Name → what the interpreter does, one after the other, in whatever thread; at the last of them it happens.

``enter`` and ``leave`` a function (a coroutine is left once, when it is done), ``again``: a generator goes on,
``before`` and ``after`` a call of a built-in; ``name=value`` is of one of its local variables.
"""
_BACK = f"leave {_BOOK}.advance state=intent"
AGAIN: dict[str, tuple[str, ...]] = {
    "before the commit of being an intent again": (_BACK, f"again {_COMMIT}"),
    "after the commit of being an intent again": (_BACK, f"leave {_COMMIT}"),
    "the next minute is waited for": (_BACK, "enter runtime/context.py NodeContext.sleep_until"),
    "before the second commit of sending": (_BACK, _SENDING, f"again {_COMMIT}"),
    "after the second commit of sending": (_BACK, _SENDING, f"leave {_COMMIT}"),
    "before the first byte of the second time": (_BACK, f"enter {_PLACE}", _BEGUN, f"before {_SENT}"),
    "the second answer's head is read": (
        _BACK, f"enter {_PLACE}", f"enter {_WIRE} event=http11.receive_response_headers.complete",
    ),
    "before the commit of accepted at last": (_BACK, _ACCEPTED, f"again {_COMMIT}"),
}  # fmt: skip
"""The same where the exchange said the first time that it was too much at once."""
_STEP = re.compile(r"(enter|leave|again|before|after) (\S+)(?: (\S+))?(?: (\w+)=(\S+))?")
_CALLS = {"before": "c_call", "after": "c_return"}
_RETURNS = ("RETURN_VALUE", "RETURN_CONST")


class Step(NamedTuple):
    """One thing that the interpreter does."""

    does: str
    file: str
    """The end of its path; of a built-in: ``type.name``."""
    function: str
    local: str
    value: str

    @classmethod
    def of(cls, text: str) -> Step:
        found = _STEP.fullmatch(text)
        assert found is not None, text
        return cls(*(one or "" for one in found.groups()))

    def fits(self, frame: FrameType, event: str, arg: Any) -> bool:  # Any: as the interpreter tells it
        if self.does in _CALLS:
            return event == _CALLS[self.does] and isinstance(arg, BuiltinFunctionType) and (
                f"{type(arg.__self__).__name__}.{arg.__name__}" == self.file
            )  # fmt: skip
        code = frame.f_code
        if code.co_qualname != self.function or not code.co_filename.endswith(f"/{self.file}"):
            return False
        if self.local and str(frame.f_locals.get(self.local)) != self.value:
            return False
        name, argument = dis.opname[code.co_code[frame.f_lasti]], code.co_code[frame.f_lasti + 1]
        if event == "call":
            return self.does == ("enter" if argument & 3 == 0 else "again")  # RESUME 0 is the function's beginning
        return event == "return" and self.does == "leave" and name in _RETURNS


class Watch:
    """Waits in this process for one point or one line. ``strikes(where)`` is called there, in its thread; once."""

    def __init__(self, at: str, line: int, strikes: Callable[[str], None]) -> None:
        self.lines = 0
        """Lines of the product's code that ran while it was armed."""
        self._name = at
        self._steps = [Step.of(text) for text in (POINTS | AGAIN)[at]] if at else []
        self._line = line
        self._strikes = strikes
        self._armed = False
        self._count = itertools.count(1)
        self._ours: dict[CodeType, bool] = {}

    def begin(self) -> None:
        """Before any other thread is started."""
        if self._steps:
            threading.setprofile(self._profile)
        elif self._line:
            threading.settrace(self._trace)

    def arm(self) -> None:
        """From now on."""
        self._armed = True
        if self._steps:
            sys.setprofile(self._profile)
        elif self._line:
            sys.settrace(self._trace)

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:  # Any: as the interpreter tells it
        if self._armed and self._steps and self._steps[0].fits(frame, event, arg):
            del self._steps[0]
            if not self._steps:
                self._strikes(self._name)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:  # Any: a trace function returns one
        if not self._armed:
            return None
        ours = self._ours.get(frame.f_code)
        if ours is None:
            ours = self._ours[frame.f_code] = any(one in frame.f_code.co_filename for one in CODE)
        return self._step if ours else None

    def _step(self, frame: FrameType, event: str, arg: Any) -> Any:  # Any: a trace function returns one
        if event == "line":
            self.lines = next(self._count)
            if self.lines == self._line:
                path = "/".join(frame.f_code.co_filename.split("/")[-2:])
                self._strikes(f"{path}:{frame.f_lineno} ({frame.f_code.co_qualname})")
        return self._step
