"""Files from the network: bounded in bytes and time, verified, stored completely or not at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import pooch
from pooch.hashes import hash_matches

from ...basics.files import open_atomically

__all__ = ["fetch"]

LARGEST = 2**26
"""Bytes of one file; the largest of ours has 10^7."""
GRACE, SLOWEST, LONGEST = 60, 1000, 3600
"""A download must reach SLOWEST bytes per second after GRACE seconds and end within LONGEST."""


def fetch(url: str, checksum: str | None, folder: Path, progress: bool, advice: str = "") -> None:
    """Download one file into `folder` under its own name: written aside, verified, then renamed.

    Args:
        checksum: "algorithm:checksum". None: for a file without a published checksum; the
            reader checks it.
        progress: show a bar.
        advice: ends the message of an error.
    Raises:
        ConnectionError: it could not be fetched completely, is too large, or comes too slowly.
        ValueError: it is not the file that the checksum says.
        OSError: it cannot be written.
    """
    path = folder / url.rsplit("/", 1)[1]
    if path.is_file() and hash_matches(path, checksum):
        return
    with open_atomically(path) as file:
        _download(url, file, progress, advice)
        file.flush()
        if not hash_matches(file.name, checksum):
            raise ValueError(
                f"{url} is not the expected file: its checksum is not {checksum}. It was not kept. "
                f"Run this again; if it stays so, something on the way changes it. {advice}"
            )


def _download(url: str, file: BinaryIO, progress: bool, advice: str) -> None:
    target = _Target(file)
    download = pooch.HTTPDownloader(progressbar=progress, timeout=(5, 30))  # seconds
    # In its own thread: requests has no time limit for a server that sends byte by byte.
    thread = threading.Thread(target=target.fill, args=(download, url), daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not target.is_too_slow():
            thread.join(0.1)
    finally:
        target.close()
    if target.error is not None:
        raise ConnectionError(
            f"{url} could not be fetched whole ({_reason(target.error)}). Nothing half-written was "
            f"kept; run this again when the network is there. {advice}"
        ) from target.error


class _Target:
    """A file that accepts no more than LARGEST bytes, and none after it is closed."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.begun = file, 0, time.monotonic()
        self.error: Exception | None = None
        self.is_open, self.lock = True, threading.Lock()

    def fill(self, download: Any, url: str) -> None:
        try:
            download(url, self, None)
        except Exception as error:
            self.error = self.error or error

    def is_too_slow(self) -> bool:
        seconds = time.monotonic() - self.begun
        slow = seconds > LONGEST or (seconds > GRACE and self.size < SLOWEST * seconds)
        if slow:
            self.error = OSError(f"after {seconds:.0f} s there were {self.size} bytes: too slow")
        return slow

    def write(self, content: bytes) -> None:
        with self.lock:
            self.size += len(content)
            if self.size > LARGEST:
                raise OSError(f"it has more than {LARGEST} bytes")
            if not self.is_open:
                raise OSError("nobody waits for it any more")
            self.file.write(content)

    def flush(self) -> None:
        """Nothing: we do not flush after each piece."""

    def close(self) -> None:
        with self.lock:
            self.is_open = False


def _reason(error: Exception) -> str:
    """Why a download failed, in a few words."""
    if isinstance(error, ValueError):  # raised by requests, which would not even connect
        return f"it leads to an address that we do not fetch from: {error}"
    return str(getattr(error.args[0] if error.args else None, "reason", None) or error)
