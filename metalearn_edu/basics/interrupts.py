"""Ctrl-C while a command loads what it needs prints one word instead of a page of traceback.

Loading PyTorch takes seconds, and an interruption in the middle of it can turn into any kind of
error. Nothing has been written by then, so the process ends immediately.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["loaded", "quiet_at_exit", "quiet_while_loading"]

STATUS = 130  # as a shell counts it: 128 + SIGINT


@contextmanager
def quiet_while_loading() -> Iterator[None]:
    """Within the block, until `loaded` is called, Ctrl-C says "stopped" and ends the process.

    Does nothing if other code handles Ctrl-C, or outside the main thread.
    """
    usual = signal.default_int_handler
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is usual
    )
    if ours:
        signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, usual)


def loaded() -> None:
    """From here on, Ctrl-C is an exception again, so that work in progress can end cleanly."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def quiet_at_exit() -> None:
    """While Python shuts down, Ctrl-C has no effect: everything has been printed."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _leave(number: int, frame: Any) -> None:
    os.write(2, b"stopped\n")
    os._exit(STATUS)
