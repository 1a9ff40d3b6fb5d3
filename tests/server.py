"""A local web server that misbehaves on request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``body`` under any path.

    etag, dated: identify the version of the body; acts: what to do with the next requests, in turn, and thereafter
    "serve": "cut" and "stall" after half of what is due, "ignore" ranges, "range" whatever If-Range says, "endless"
    half of it without a length, a status code to answer, "to ADDRESS" to redirect; requests: the headers of the
    requests so far; slow: seconds before each answer.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = bytes(range(256)) * 4096  # 1 MiB: more than one read
        self.etag: str | None = '"one"'
        self.dated: str | None = None
        self.acts: list[str] = []
        self.requests: list[Message] = []
        self.slow = 0.0
        self.over = threading.Event()

    def url(self, name: str = "file.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [headers["Range"] for headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(self.headers)
        act = server.acts.pop(0) if server.acts else "serve"
        server.over.wait(server.slow)
        if act.isdigit():
            return self.send_error(int(act))
        if act.startswith("to "):
            self.send_response(302)
            self.send_header("Location", act[3:])
            return self.end_headers()
        body, start = server.body, 0
        asked = self.headers["Range"]
        same = self.headers["If-Range"] in (server.etag, server.dated) or act == "range"
        if asked and same and act != "ignore":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        for name, value in (("ETag", server.etag), ("Last-Modified", server.dated)):
            if value:
                self.send_header(name, value)
        due = body[start:]
        if act != "endless":
            self.send_header("Content-Length", str(len(due)))
        self.end_headers()
        self.wfile.write(due[: len(due) // 2] if act in ("cut", "stall", "endless") else due)
        if act == "stall":
            self.wfile.flush()
            server.over.wait(5)
        return None


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
