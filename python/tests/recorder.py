"""A server of TLS that is not the emulator: it records what arrives byte by byte, and responds as a test says."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

import keybound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keybound.emulator import Emulator


class Recorder:
    """The server. Each connection serves one request."""

    def __init__(self, listener: socket.socket, certificate: Path) -> None:
        self.origin = f"https://127.0.0.1:{listener.getsockname()[1]}"
        self.ca_pem = certificate.read_bytes()
        self.requests: list[bytes] = []
        self.responded = threading.Event()
        """Whether `respond_early` has taken effect."""
        self.was_left = threading.Event()
        """Whether a client closed its connection before its request was complete."""
        self._response = b""
        self._holds = False
        self._early = b""
        self._stops = False
        self._resumed = threading.Event()
        self._listener = listener
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Accepts connections; before, they are refused."""
        self._listener.listen()
        self._thread.start()

    def respond(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        lines = [f"HTTP/1.1 {status}", *headers, "Connection: close", f"Content-Length: {len(body)}", "", ""]
        self._response = "\r\n".join(lines).encode() + body

    def respond_gzip(self, body: bytes) -> None:
        self.respond(gzip.compress(body), "Content-Encoding: gzip", "Content-Type: text/plain; charset=utf-8")

    def cut(self) -> None:
        """Closes each connection after its request, without a response."""
        self._response = b""

    def hold(self, part: bytes, length: int) -> None:
        """Responds with a part of a body of this length, and waits for the client to close the connection."""
        self._response = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + part
        self._holds = True

    def respond_early(self, status: str, body: bytes, rest: bytes = b"", stops: bool = False) -> None:
        """Responds as soon as the head of a request is received, except for the rest of the body. If it stops then, it reads no
        more until `resume` is called.
        """
        self._stops = stops
        self._early = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) + len(rest)}\r\n\r\n".encode() + body
        self._response = rest

    def resume(self) -> None:
        """Reads requests again."""
        self._resumed.set()

    def only_head(self) -> str:
        """The head of the only request, in lower case."""
        (request,) = self.requests
        return request.partition(b"\r\n\r\n")[0].decode().lower()

    def only_body(self) -> bytes:
        (request,) = self.requests
        return request.partition(b"\r\n\r\n")[2]

    def only_chunks(self) -> bytes:
        """The chunks of the body of the only request, together."""
        chunks, rest = [], self.only_body()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            chunks.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return b"".join(chunks)

    def close(self) -> None:
        if self._thread.is_alive():
            # Wakes the thread.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                self._exchange(connection)
            except OSError:
                continue

    def _exchange(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with self._context.wrap_socket(connection, server_side=True) as stream:
            request = b""
            while not _is_complete(request):
                if self._early and b"\r\n\r\n" in request and not self.responded.is_set():
                    stream.sendall(self._early)
                    self.responded.set()
                    if self._stops:
                        self._resumed.wait(20)
                chunk = stream.recv(65536)
                if not chunk:
                    self.was_left.set()
                    return
                request += chunk
            self.requests.append(request)
            stream.sendall(self._response)
            if self._holds:
                stream.recv(1)
                return
            stream.unwrap()


def _is_complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.decode().lower().splitlines():
        name, _, value = line.partition(": ")
        if name == "content-length":
            return len(body) >= int(value)
        if (name, value) == ("transfer-encoding", "chunked"):
            return body.endswith(b"0\r\n\r\n")
    return True


@pytest.fixture(scope="session")
def recorder_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and localhost, and its key, in one file."""
    folder = tmp_path_factory.mktemp("recorder")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=recorder -addext subjectAltName=IP:127.0.0.1,DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both


@pytest.fixture
def recorder(late_recorder: Recorder) -> Recorder:
    late_recorder.start()
    return late_recorder


@pytest.fixture
def late_recorder(recorder_certificate: Path) -> Iterator[Recorder]:
    """A recorder that refuses connections until it is started."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Recorder(listener, recorder_certificate)
        yield server
        server.close()


@pytest.fixture(scope="session")
def calls(shared_emulator: Emulator, recorder_certificate: Path) -> keybound.BoundCalls:
    """Calls of a client that has its certificate, and trusts the emulator and the recorder."""
    settings = shared_emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    calls = keybound.BoundCalls(keybound.ManagedIdentityClient(**settings))
    calls.acquire_token("https://vault.azure.net")
    return calls
