"""Call a function that may never end.

It runs in a thread of its own. When the time is up we raise an exception inside that thread, which
ends a loop on every system. A thread that does not hear it, because it waits inside C code, is
left behind: it cannot keep the process alive, and the caller goes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["OutOfTime", "call_within"]


class OutOfTime(BaseException):
    """The time is up. No Exception, so that the function's own `except Exception` lets it pass."""


def call_within(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), or what it raises.

    Raises:
        OutOfTime: it did not return within so many seconds.
    """
    outcome: dict[str, Any] = {}

    def work() -> None:
        with contextlib.suppress(OutOfTime):
            try:
                outcome["value"] = function(*arguments)
            except OutOfTime:
                raise
            except BaseException as error:
                outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        _stop(thread)  # also when the caller is interrupted
    if "error" in outcome:
        raise outcome["error"]
    if "value" not in outcome:
        raise OutOfTime
    return outcome["value"]


def _stop(thread: threading.Thread) -> None:
    """Ask a few times: an `except:` of the function may swallow the first."""
    for _ in range(20):
        if not thread.is_alive():
            return
        number = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(OutOfTime))
        thread.join(0.05)
