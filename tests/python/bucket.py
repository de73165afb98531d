"""A bucket for tests: moto in a process of its own, and a proxy in front of it that can meddle with requests."""

from __future__ import annotations

import http.client
import itertools
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import harness

#: S3 looks whether a key is there and writes it as one step, moto as two: one request at a time mends that.
MOTO = """
import threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

application, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

def one_at_a_time(environ, start_response):
    with turn:
        return application(environ, start_response)

server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""

#: moto takes any signature, but finds the service in it.
AUTHORISATION = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}


class Moto:
    """A server of buckets on a free port."""

    def __init__(self, log: Path) -> None:
        self._numbers = itertools.count(1)
        with log.open("w") as stderr:
            command = [sys.executable, "-c", MOTO]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        port = self.process.stdout.readline()
        assert port, log.read_text()
        self.endpoint = f"http://127.0.0.1:{int(port)}"

    def new_bucket(self) -> str:
        """The name of a bucket that nobody else uses."""
        name = f"bucket-{next(self._numbers)}"
        self.put(name, b"")
        return name

    def put(self, path: str, content: bytes) -> None:
        """Writes an object, or makes a bucket."""
        self._ask("PUT", path, content)

    def delete(self, path: str) -> None:
        """Deletes an object."""
        self._ask("DELETE", path)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of a bucket's objects, of which these tests have fewer than one list holds."""
        listed = ElementTree.fromstring(self._ask("GET", f"{bucket}?list-type=2&prefix={prefix}"))
        names = [element.text for element in listed.iterfind("{*}Contents/{*}Key")]
        assert len(names) < 1000
        return names

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.endpoint}/{path}", content, AUTHORISATION, method=method)
        request.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=harness.PATIENCE_S) as answer:
            return answer.read()


class Request:
    """A request on its way."""

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers

    @property
    def is_commit(self) -> bool:
        """Whether it writes an entry of a table's log."""
        return self.method == "PUT" and "/_delta_log/" in self.path and self.path.endswith(".json")


class Proxy:
    """Passes requests on to a bucket's server. `before` may change a request; where `after` says false, no answer goes
    back to who asked."""

    def __init__(self, endpoint: str) -> None:
        self.before: Callable[[Request], object] = lambda request: None
        self.after: Callable[[Request], bool] = lambda request: True
        self._upstream = urlsplit(endpoint).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_ANY(self) -> None:
                proxy._pass_on(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_ANY

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Hangs up."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        request = Request(handler.command, handler.path, dict(handler.headers))
        self.before(request)
        connection = http.client.HTTPConnection(self._upstream, timeout=harness.PATIENCE_S)
        try:
            connection.request(request.method, request.path, content, request.headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if not self.after(request):
            return
        try:
            handler.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding"):
                    handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)
        except ConnectionError:
            pass  # who asked was killed
