"""Downloads: within bounds, verified, and there whole or not at all."""

import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from metalearn_edu.tasks.data import downloads
from metalearn_edu.tasks.data.downloads import fetch

CONTENT = b"drawings" * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        getattr(self, self.path.strip("/").split(".")[0])()

    def start(self, **headers):
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def whole(self):
        self.start(Content_Length=len(CONTENT))
        self.wfile.write(CONTENT)

    def endless(self):
        self.start()
        while True:
            self.wfile.write(bytes(10_000))

    def drops(self):
        """A byte now and then."""
        self.start()
        while True:
            self.wfile.write(b"x")
            time.sleep(0.05)

    def headers_in_drops(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        self.drops()

    def elsewhere(self):
        self.send_response(302)
        self.send_header("Location", "file:///etc/passwd")
        self.end_headers()

    def round_and_round(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # who hangs up is no news
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


CHECKSUM = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


def test_a_file_is_fetched_once(server, tmp_path):
    server.asked.clear()
    for _ in range(2):
        fetch(server.url + "whole.zip", CHECKSUM, tmp_path / "new", progress=False)
    assert (tmp_path / "new" / "whole.zip").read_bytes() == CONTENT and len(server.asked) == 1
    (tmp_path / "new" / "whole.zip").write_bytes(b"something else")
    fetch(server.url + "whole.zip", CHECKSUM, tmp_path / "new", progress=False)
    assert (tmp_path / "new" / "whole.zip").read_bytes() == CONTENT and len(server.asked) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("endless", "it has more than 1000000 bytes"),
        ("drops", "too slow"),
        ("headers_in_drops", "too slow"),
        ("elsewhere", "leads to an address that we do not fetch from: .*file:///etc/passwd"),
        ("round_and_round", "redirects"),
    ],
)
def test_what_does_not_come_within_bounds_is_given_up(server, tmp_path, monkeypatch, name, says):
    monkeypatch.setattr(downloads, "LARGEST", 10**6)
    monkeypatch.setattr(downloads, "GRACE", 1)
    (tmp_path / f"{name}.zip").write_bytes(b"older")
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=rf"{name}.zip could not be fetched whole \(.*{says}"):
        fetch(f"{server.url}{name}.zip", "md5:" + "0" * 32, tmp_path, progress=False)
    assert time.monotonic() - begun < 20
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {f"{name}.zip": b"older"}


def test_without_a_network_it_is_one_plain_line(tmp_path):
    with pytest.raises(ConnectionError) as raised:
        fetch("http://127.0.0.1:9/a.zip", CHECKSUM, tmp_path, progress=False, advice="Or else.")
    assert "Connection refused" in str(raised.value) and "Max retries" not in str(raised.value)
    assert str(raised.value).endswith("Or else.") and "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_another_file_than_expected_is_not_kept(server, tmp_path):
    with pytest.raises(ValueError, match=r"its checksum is not md5:000.* It was not kept"):
        fetch(server.url + "whole.zip", "md5:" + "0" * 32, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


FETCH = """
import sys
from pathlib import Path
from metalearn_edu.tasks.data.downloads import fetch
fetch(sys.argv[1], None, Path(sys.argv[2]), progress=False)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_what_a_stopped_download_left_is_removed_by_the_next(server, tmp_path, stop):
    command = [sys.executable, "-c", FETCH, server.url + "drops.zip", tmp_path]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list(tmp_path.iterdir()):
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(stop)
    process.wait(60)
    left = list(tmp_path.iterdir())
    assert len(left) == (stop == signal.SIGKILL)
    for part in left:
        part.rename(tmp_path / part.name.replace("drops", "whole"))
        os.utime(tmp_path / part.name.replace("drops", "whole"), (time.time() - 10,) * 2)
    fetch(server.url + "whole.zip", CHECKSUM, tmp_path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["whole.zip"]
