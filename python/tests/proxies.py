"""Envoy and nginx with the configuration that `keybound verify config` prints, the daemon that they ask, and an API that they pass
requests on to.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest
from apache import Application
from ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound.emulator import Emulator

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
ENVOY = CACHE / "keybound/envoy-1.40.0/envoy/_bin/envoy"
AUDIENCE = "api://orders"
# That of the emulator.
TENANT = "5a5a5a5a-0000-4000-8000-00000000000a"
POLICY = Path(__file__).parents[2] / "crates/keybound-verify/tests/engines/policy.toml"
NGINX = """
daemon off;
worker_processes 1;
pid "{folder}/pid";
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    scgi_temp_path "{folder}/scgi";
    uwsgi_temp_path "{folder}/uwsgi";
    include "{folder}/printed";
}}
"""


@dataclass
class Proxy:
    """A proxy that runs, in front of an API that returns what it received as JSON."""

    origin: str
    log: Path
    """The decision log of the daemon."""

    def decision(self, number: int) -> dict[str, Any]:
        """A decision, which is logged after the response."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            lines = self.log.read_text().splitlines(keepends=True)
            if len(lines) > number and lines[number].endswith("\n"):
                decision: dict[str, Any] = json.loads(lines[number])
                return decision
            time.sleep(0.01)
        raise RuntimeError(f"the daemon logged no decision {number}")


@pytest.fixture(params=["envoy", "nginx"])
def proxy(request: pytest.FixtureRequest, emulator: Emulator, recorder_certificate: Path) -> Iterator[Proxy]:
    program = os.environ.get("KEYBOUND_PROGRAM")
    if not program:
        pytest.skip("KEYBOUND_PROGRAM is not the path of the program keybound")
    # The workers of nginx have another account.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    api = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    try:
        policy = folder / "verify.toml"
        values = {
            "FOLDER": str(folder),
            "ENGINE": request.param,
            "CA_FILE": str(emulator.ca_file),
            "AUDIENCE": AUDIENCE,
            "TENANT": TENANT,
            "STS": emulator.sts.rstrip("/"),
        }
        policy.write_text(filled(POLICY.read_text(), values))
        log = folder / "decisions"
        serve = [program, "verify", "serve", "--config", policy]
        with log.open("wb") as output, running(serve, folder, stdout=output) as daemon, reserved_port() as port:
            wait(daemon, folder, lambda: is_ready(folder / "admin.sock"))
            command = [program, "verify", "config", request.param, "--config", policy, "--listen", f"127.0.0.1:{port}"]
            command += ["--certificate", recorder_certificate, "--key", recorder_certificate]
            command += ["--upstream", f"127.0.0.1:{api.server_port}"]
            (folder / "printed").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
            with running(engine(request.param, folder), folder) as front:
                wait(front, folder, lambda: accepts(port))
                yield Proxy(f"https://localhost:{port}", log)
    finally:
        api.shutdown()
        api.server_close()
        shutil.rmtree(folder)


def filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def engine(name: str, folder: Path) -> list[Any]:
    if name == "envoy":
        options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
        return [ENVOY, *options, "--config-yaml", (folder / "printed").read_text()]
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    return ["/usr/sbin/nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]


class running:  # noqa: N801
    """A process, which ends with the block."""

    def __init__(self, command: list[Any], folder: Path, stdout: Any = None) -> None:
        self._errors = (folder / Path(command[0]).name).open("wb")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout or self._errors, stderr=self._errors)

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._errors.close()


def wait(process: subprocess.Popen[bytes], folder: Path, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    command: Any = process.args
    errors = (folder / Path(command[0]).name).read_text()
    raise RuntimeError(f"{command[0]} is not ready: {errors}")


def is_ready(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
