"""Call a function that may never end, within limits of processor time and memory.

On Linux it runs in a copy of this process. The system itself ends the copy when its processor time
is used up, inside C code as well, and what it had half done, an import, a lock, a global setting,
ends with it. Elsewhere it runs in a thread, in which we raise an exception when the time is up,
though never in the middle of an import. A thread that waits inside C code does not notice it and is
left behind; a thread that loops inside C code and never yields cannot be ended, and memory has no
limit there.

Wall-clock time decides nothing: a busy machine makes no answer wrong. But a function that uses
less than a twentieth of a processor for a while counts as waiting for something.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import FrameType, GeneratorType
from typing import Any

import torch

__all__ = ["MEMORY", "OutOfTime", "Stop", "call_within"]

MEMORY = 2 * 2**30  # bytes, beyond what the process has already
PATIENCE = 5.0  # seconds in which hardly anything happens, at least


class OutOfTime(Exception):
    """It was stopped, or it crashed Python.

    Attributes:
        so_far: the last thing that a generator had yielded by then, or None.
    """

    def __init__(self, why: str, so_far: Any = None) -> None:
        super().__init__(why)
        self.so_far = so_far


def call_within(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), or what it raises; for a generator, the last thing that it yields.

    Args:
        seconds: of processor time.

    Raises:
        OutOfTime: it did not return in time; the message says so in words.
    """
    way = _in_a_copy if has_copies() else _in_a_thread
    return way(seconds, function, *arguments)


@cache
def has_copies() -> bool:
    """Whether a check runs in a copy of the process.

    macOS has fork, but its own libraries do not survive it. With a GPU, autograd starts threads at
    its first use, and then refuses to work in a copy, which does not have them.
    """
    return sys.platform == "linux" and not torch.accelerator.is_available()


def _words(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
    result = function(*arguments)
    if isinstance(result, GeneratorType):
        yield from result
    else:
        yield result


def _still_running(seconds: float) -> str:
    return (
        f"it is still running after {seconds:g} seconds of processor time, and was stopped.\n"
        "Hint: is there a loop that never ends? What makes its condition false?"
    )


WAITS = (
    "it waits for something that does not come, and was stopped.\n"
    "Hint: leave out `sleep`, `input` and whatever else waits; the result needs none"
)


class _Patience:
    """Tells whether hardly any processor time was used for a while: a twentieth of a processor.

    Attributes:
        while_: its length in seconds.
        used: tells how much processor time was used, in all.
    """

    def __init__(self, seconds: float, used: Callable[[], float]) -> None:
        self.while_, self.used = max(seconds, PATIENCE), used
        self._begin()

    def _begin(self) -> None:
        self.since, self.at_first = time.monotonic(), self.used()

    def is_over(self) -> bool:
        passed = time.monotonic() - self.since
        if passed < self.while_:
            return False
        waited = self.used() - self.at_first < passed / 20
        self._begin()
        return waited


# --- in a copy of the process ----------------------------------------------------------------


def _in_a_copy(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    reader, writer = Pipe(duplex=False)
    with warnings.catch_warnings():
        # other threads may hold a lock when the copy is made; it touches nothing of theirs
        warnings.simplefilter("ignore", DeprecationWarning)
        number = os.fork()
    if number == 0:
        _speak(writer, seconds, function, arguments)
    writer.close()
    said: list[Any] = []
    ended = False
    try:
        ended = _listen(reader, said, _Patience(seconds, lambda: _used_by(number)))
    finally:
        status = _end(number)
        reader.close()
    return _outcome(said, ended, status, seconds)


def _speak(
    writer: Connection, seconds: float, function: Callable[..., Any], arguments: tuple
) -> None:
    """In the copy: send each word, then the error if there was one, and end."""
    try:
        _limit(seconds)
        for word in _words(function, arguments):
            writer.send((word, None))
    except BaseException as error:
        with contextlib.suppress(BaseException):  # an error that cannot be sent
            writer.send((None, error))
    finally:
        os._exit(0)


def _limit(seconds: float) -> None:
    import resource

    builtins.input = _nobody_answers
    torch.set_num_threads(1)  # the threads of a pool do not come along into a copy
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupts are for the process, which ends us
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the copy, wherever it is
    signal.setitimer(signal.ITIMER_PROF, seconds)
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hardest = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_smaller(now + MEMORY, hardest), hardest))


def _nobody_answers(prompt: object = "") -> str:
    """In a kernel, a question would go out over a line that belongs to the process."""
    raise EOFError("`input` waits for somebody who types, and nobody does in a check")


def _smaller(limit: int, hardest: int) -> int:
    return limit if hardest < 0 else min(limit, hardest)  # negative: there is none


def _listen(reader: Connection, said: list[Any], patience: _Patience) -> bool:
    """Receive all words. False: it waits for something, and has not ended."""
    while not patience.is_over():
        with contextlib.suppress(EOFError):
            if reader.poll(patience.while_ / 4):
                said.append(reader.recv())
            continue
        return True
    return False


def _used_by(number: int) -> float:
    """Processor time of a process, in seconds; its clock has a number, clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime((~number << 3) | 2)
    except OSError:  # a system without such clocks: nobody waits
        return time.monotonic()


def _end(number: int) -> int:
    """End the copy if it has not ended, and say how it did: minus a signal, or an exit code."""
    with contextlib.suppress(ProcessLookupError):
        if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.kill(number, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def _outcome(said: list[Any], ended: bool, status: int, seconds: float) -> Any:
    words = [word for word, error in said if error is None]
    if said and said[-1][1] is not None:
        raise said[-1][1]
    if ended and status == 0 and words:
        return words[-1]
    so_far = words[-1] if words else None
    if not ended:
        raise OutOfTime(WAITS, so_far)
    if -status == signal.SIGPROF:
        raise OutOfTime(_still_running(seconds), so_far)
    raise OutOfTime(_crash(-status), so_far)


def _crash(number: int) -> str:
    name = signal.Signals(number).name if number > 0 else "no result"
    return (
        f"it brings Python itself down ({name}), here in a copy of it.\n"
        "Hint: does a function call itself without an end, or does it ask for too much memory?"
    )


# --- in a thread -----------------------------------------------------------------------------


class Stop(SystemExit):
    """Raised inside the thread. A thread that ends with a SystemExit prints nothing, anywhere."""


def _in_a_thread(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    said: list[Any] = []
    ends: list[BaseException | None] = []

    def work() -> None:
        try:
            said.extend(_words(function, arguments))
            ends.append(None)
        except Stop:
            pass
        except BaseException as error:
            ends.append(error)

    streams = sys.stdout, sys.stderr
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        why = _wait(thread, seconds)
    finally:  # also when the caller is interrupted
        _stop(thread)
        sys.stdout, sys.stderr = streams  # which a thread that is left behind cannot give back
    if ends and ends[0] is not None:
        raise ends[0]
    if ends:
        return said[-1]
    raise OutOfTime(why, said[-1] if said else None)


def _wait(thread: threading.Thread, seconds: float) -> str:
    """Until the thread ends, or is to be stopped for the reason that is returned."""
    began = time.process_time()
    patience = _Patience(seconds, time.process_time)
    while thread.is_alive():
        thread.join(0.02)
        if time.process_time() - began > seconds:
            return _still_running(seconds)
        if patience.is_over():
            return WAITS
    return ""


def _stop(thread: threading.Thread) -> None:
    """Ask a few times: an `except:` of the function may swallow the first."""
    for _ in range(20):
        while thread.is_alive() and _imports(sys._current_frames().get(thread.ident or 0)):
            thread.join(0.05)  # half an import would stay behind for everybody
        if not thread.is_alive():
            return
        number = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(Stop))
        thread.join(0.05)


def _imports(frame: FrameType | None) -> bool:
    """Whether an import is going on in this frame or in one that called it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
