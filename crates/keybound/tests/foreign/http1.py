"""HTTP/1.1 over sockets: responses in every form that the standard allows."""

import contextlib
import dataclasses
import http.client
import io
import json
import select
import socket
import ssl
import threading
import urllib.parse

JSON = "application/json; charset=utf-8"


@dataclasses.dataclass
class Request:
    method: str
    target: str
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def path(self):
        return urllib.parse.urlsplit(self.target).path

    @property
    def query(self):
        return strict_pairs(urllib.parse.urlsplit(self.target).query)


@dataclasses.dataclass
class Response:
    status: int
    headers: dict
    body: bytes

    @classmethod
    def of_json(cls, status, value, headers=None):
        return cls(status, {"Content-Type": JSON, **(headers or {})}, json.dumps(value).encode())


class Rejected(Exception):
    """A request that the service rejects."""

    def __init__(self, status, error, description, **members):
        super().__init__(description)
        self.status = status
        self.members = {"error": error, "error_description": description, **members}


def strict_pairs(text):
    """Form or query parameters, each at most once."""
    pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=True) if text else []
    if len(dict(pairs)) != len(pairs):
        raise Rejected(400, "invalid_request", "a parameter is repeated")
    return dict(pairs)


class Server:
    """Listens on a port of 127.0.0.1; each connection has a thread."""

    def __init__(self, respond, forms, context=None):
        """`context` has the TLS settings, `respond(request, connection)` returns the response."""
        self._respond = respond
        self._forms = forms
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        start(self._accept)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # Wakes the thread that accepts.
        self._listener.close()

    def _accept(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            start(self._serve, plain)

    def _serve(self, plain):
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The peer may close the connection or use another protocol; the peer's test checks what it received.
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as open_things:
            sock = open_things.enter_context(plain)
            if self._context:
                sock = open_things.enter_context(self._context.wrap_socket(sock, server_side=True))
            stream = open_things.enter_context(sock.makefile("rb"))
            connection = Connection(sock, stream, self._forms)
            while connection.is_open and (request := connection.read()):
                connection.write(self._respond(request, connection))


class Connection:
    """One connection, with the service set's forms of responses."""

    def __init__(self, sock, stream, forms):
        self.sock = sock
        self.forms = forms
        self.is_open = True
        self._input = stream

    def read(self):
        line = self._input.readline(65537).decode("latin-1").rstrip("\r\n")
        if not line:
            return None
        method, target, version = line.split(" ")
        if version != "HTTP/1.1":
            raise ValueError("not HTTP/1.1")
        headers = http.client.parse_headers(self._input)
        hosts = headers.get_all("Host", [])
        if len(hosts) != 1 or headers.get("Transfer-Encoding"):
            raise ValueError("no Host, or a body of unknown length")
        body = self._input.read(int(headers.get("Content-Length", 0)))
        return Request(method, target, headers, body)

    def write(self, response):
        head, body = self._frame(response)
        if "interim-response" in self.forms:
            self.sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n")
        if "byte-by-byte" in self.forms:
            for byte in head + body:
                self.sock.sendall(bytes([byte]))
        else:
            self.sock.sendall(head)
            self.sock.sendall(body)
        if "close" in self.forms or "until-close" in self.forms:
            self._close()

    def peer_certificate(self):
        """The client's certificate in DER, or None."""
        return self.sock.getpeercert(binary_form=True)

    def request_certificate(self):
        """TLS 1.3 post-handshake authentication: requests the certificate and waits for the client's reaction."""
        if self.peer_certificate():
            return
        self.sock.verify_client_post_handshake()
        self.sock.do_handshake()  # Sends what the line above prepared.
        self.sock.settimeout(0)
        try:
            while not self.peer_certificate():
                select.select([self.sock], [], [])
                try:
                    if self.sock.recv(1) is not None:
                        return  # The client continues, or closes, without a certificate.
                except ssl.SSLWantReadError:
                    continue
        finally:
            self.sock.settimeout(None)

    def _frame(self, response):
        headers = dict(response.headers)
        body = response.body
        if "chunked" in self.forms:
            headers["Transfer-Encoding"] = "chunked"
            body = chunks(body)
        elif "until-close" not in self.forms:
            headers["Content-Length"] = str(len(body))
        if "close" in self.forms or "until-close" in self.forms:
            headers["Connection"] = "close"
        reason = "" if "no-reason" in self.forms else http.client.responses.get(response.status, "")
        lower = "lower-case-headers" in self.forms
        lines = [f"HTTP/1.1 {response.status} {reason}"]
        lines += [f"{name.lower() if lower else name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines + ["", ""]).encode("latin-1"), body

    def _close(self):
        self.is_open = False
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.unwrap()


def chunks(body):
    """The chunked encoding, with uneven sizes, an extension and a trailer field."""
    out = io.BytesIO()
    size = max(7, len(body) // 50)
    for start_at in range(0, len(body), size):
        piece = body[start_at : start_at + size]
        out.write(b"%X;x=1\r\n" % len(piece) + piece + b"\r\n")
    out.write(b"0\r\nX-Trailer: yes\r\n\r\n")
    return out.getvalue()


def start(work, *arguments):
    threading.Thread(target=work, args=arguments, daemon=True).start()
