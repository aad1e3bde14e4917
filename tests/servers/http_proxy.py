"""A proxy before an HTTP server that answers badly when it is told to: refuses, loses an answer, is slow."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(slots=True)
class Fault:
    """What becomes of requests that `of` picks (method, path with query), `times` times.

    status: answered at once with it and `body`, and not passed on. Otherwise the request is passed on, its
    answer is held for `hold_s` and then, with `lost`, thrown away together with the line.
    """

    of: Callable[[str, str], bool]
    times: int = 1 << 30
    status: int | None = None
    body: bytes = b""
    lost: bool = False
    hold_s: float = 0.0
    met: int = field(default=0, init=False)


class HttpProxy:
    """Listens on a port of its own at 127.0.0.1, and passes on to `target` there."""

    def __init__(self, target: int) -> None:
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        """Method and path of each request, in their order."""
        self.most_at_once = 0
        """Requests that were under way side by side."""
        self._under_way = 0
        self._guard = threading.Lock()
        self._over = threading.Event()
        proxy = self

        class Passing(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with proxy._counted():
                    self._pass_on(body)

            def _pass_on(self, body: bytes) -> None:
                fault = proxy._fault(self.command, self.path)
                if fault is not None and fault.status is not None:
                    self._answer(fault.status, [], fault.body)
                    return
                line = http.client.HTTPConnection("127.0.0.1", target, timeout=60)
                try:
                    line.request(self.command, self.path, body, dict(self.headers))
                    answer = line.getresponse()
                    content = answer.read()
                finally:
                    line.close()
                if fault is not None:
                    proxy._over.wait(fault.hold_s)
                    if fault.lost:
                        self.close_connection = True
                        return
                self._answer(answer.status, answer.getheaders(), content)

            def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    # A HEAD tells the length of what it does not send.
                    if name.lower() not in ("connection", "transfer-encoding", "server", "date") and (
                        name.lower() != "content-length" or self.command == "HEAD"
                    ):
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:
                """Nothing to the terminal."""

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client went away, having waited long enough
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._guard:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield
        finally:
            with self._guard:
                self._under_way -= 1

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._guard:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.met < fault.times and fault.of(method, path):
                    fault.met += 1
                    return fault
        return None

    def let_go(self) -> None:
        """What is held is answered now; nothing is held any more."""
        self._over.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
