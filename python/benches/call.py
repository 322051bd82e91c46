"""The cost of a bound call: `keybound`, and requests with a certificate and key in files, against one nginx that requests the
certificate in the handshake, in one process, in turn. requests runs as it does by default, and without the environment, which
`keybound.requests` does not read either.

    python call.py [--rounds N] [--check]

Needs nginx and openssl. Prints the median of the rounds in microseconds a call, and the ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import requests

import keybound
import keybound.requests
from keybound.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = 200
LIMIT = 0.6

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} ssl;
        keepalive_requests 1000000;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        ssl_verify_client optional_no_ca;
        location / {{ default_type text/plain; return 200 "0123456789abcdef"; }}
    }}
}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Emulator() as emulator, server(Path(name)) as url:
        folder = Path(name)
        settings = emulator.client_settings
        settings["loopback_ca_pem"] += (folder / "server.pem").read_bytes()
        client = keybound.ManagedIdentityClient(**settings)
        calls = contenders(client, url, folder)
        samples: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            repeat(call, 20)
        for _ in range(arguments.rounds):
            for name, call in calls.items():
                samples[name].append(repeat(call, CALLS))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    for name, microseconds in medians.items():
        print(f"{name:24} {microseconds:8.0f} us")
    ratio = medians["keybound.requests"] / medians["requests"]
    print(f"keybound.requests / requests: {ratio:.3f} (limit {LIMIT})")
    print(f"keybound.requests / requests, trust_env=False: {medians['keybound.requests'] / medians['requests, no env']:.3f}")
    return 1 if arguments.check and ratio > LIMIT else 0


def contenders(client: keybound.ManagedIdentityClient, url: str, folder: Path) -> dict[str, Callable[[], bytes]]:
    resource = client.resource(url)
    session = keybound.requests.session(keybound.BoundCalls(client), url)
    ordinary, without_environment = ordinary_session(folder), ordinary_session(folder)
    without_environment.trust_env = False
    headers = {"Authorization": "Bearer " + "x" * 1500}
    return {
        "keybound": lambda: resource.get(url).read(),
        "keybound.requests": lambda: session.get(url).content,
        "requests": lambda: ordinary.get(url, headers=headers).content,
        "requests, no env": lambda: without_environment.get(url, headers=headers).content,
    }


def ordinary_session(folder: Path) -> requests.Session:
    # They take precedence over the authority of a session.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    session = requests.Session()
    session.verify = str(folder / "server.pem")
    session.cert = (str(folder / "client.pem"), str(folder / "client.key"))
    return session


def repeat(call: Callable[[], bytes], times: int) -> float:
    """Microseconds a call."""
    started = time.perf_counter()
    for _ in range(times):
        if call() != b"0123456789abcdef":
            raise RuntimeError("another response")
    return (time.perf_counter() - started) / times * 1e6


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    for name in ("server", "client"):
        new_certificate(folder, name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port))
    path = os.environ["PATH"] + ":/usr/sbin"
    with subprocess.Popen(["nginx", "-c", str(file), "-p", str(folder)], env={**os.environ, "PATH": path}) as nginx:
        try:
            wait_for(port)
            yield f"https://127.0.0.1:{port}"
        finally:
            nginx.terminate()


def new_certificate(folder: Path, name: str) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command += f" -keyout {folder}/{name}.key -out {folder}/{name}.pem"
    subprocess.run(command.split(), check=True, capture_output=True)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if time.monotonic() > deadline:
            raise TimeoutError("nginx does not listen")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
