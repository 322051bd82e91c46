"""Apache, which requests the certificate after the request: by renegotiation on TLS 1.2, after the handshake on TLS 1.3.

It passes requests on to an application, with what it knows of the client.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "/usr/sbin/apache2"
CONFIGURATION = """
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{folder}/pid"
DefaultRuntimeDir "{folder}"
ErrorLog "{folder}/errors"
User nobody
Group nogroup
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
ServerLimit 2
StartServers 1
ThreadsPerChild 16
ThreadLimit 16
MaxRequestWorkers 32
SSLEngine on
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCertificateFile "{certificate}"
SSLVerifyClient none
ProxyPass "/" "http://127.0.0.1:{application}/"
RequestHeader set X-Certificate "%{{SSL_CLIENT_CERT}}s"
RequestHeader set X-Version "%{{SSL_PROTOCOL}}s"
<Location /secure>
  # The certificates of the emulator have no root that Apache knows.
  SSLVerifyClient optional_no_ca
</Location>
"""


class Application(BaseHTTPRequestHandler):
    """Responds with the request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length")
        body = self._chunks() if length is None and self.headers.get("Transfer-Encoding") else self.rfile.read(int(length or 0))
        text = json.dumps(
            {
                "method": self.command,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode(),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _chunks(self) -> bytes:
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body


@pytest.fixture(scope="session")
def apache(recorder_certificate: Path) -> Iterator[str]:
    """The URL of the path that requests the certificate."""
    # Not below the directory of pytest, which Apache's account cannot enter.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    application = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=application.serve_forever, daemon=True).start()
    configuration = folder / "apache.conf"
    with reserved_port() as port:
        configuration.write_text(
            CONFIGURATION.format(port=port, folder=folder, certificate=recorder_certificate, application=application.server_port)
        )
        # Apache ends its whole process group.
        running = subprocess.Popen([PROGRAM, "-DFOREGROUND", "-d", str(folder), "-f", str(configuration)], start_new_session=True)
        try:
            _wait(port, running, folder)
            yield f"https://127.0.0.1:{port}/secure"
        finally:
            running.terminate()
            running.wait(20)
            application.shutdown()
            application.server_close()
            shutil.rmtree(folder)


def _wait(port: int, running: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 30
    while running.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    errors = folder / "errors"
    raise RuntimeError(f"Apache does not listen: {errors.read_text() if errors.exists() else ''}")
