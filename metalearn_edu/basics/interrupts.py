"""Ctrl-C while a command loads what it needs: one word, where Python prints a page of traceback.

Loading PyTorch takes seconds, and an interruption that reaches the middle of it comes out as any
kind of error. Nothing has been written by then, so the process ends on the spot.
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

    Does nothing where somebody else listens to Ctrl-C, or outside the main thread.
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
    """From here on Ctrl-C is an exception again, so that work in hand is put in order."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def quiet_at_exit() -> None:
    """Once Python puts itself away, Ctrl-C does nothing more: all has been said."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _leave(number: int, frame: Any) -> None:
    os.write(2, b"stopped\n")
    os._exit(STATUS)
