from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest
from conftest import RESOURCE, wait_for_records

import keybound.msal as msal
from keybound import BoundCalls, ManagedIdentityClient
from keybound.schannel_transport import SchannelSession

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from keybound.emulator import Emulator

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
    # Later interpreters warn of forks of a process with threads, which these tests are about.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
LIMIT = 60.0


def in_child(action: Callable[[], object]) -> int:
    """Runs an action in a child, whose exit status says whether it succeeded."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if action() else 3
        finally:
            os._exit(status)
    return child


def status_of(child: int) -> int:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def secret(emulator: Emulator) -> str:
    return f"{emulator.vault}/secrets/db?api-version=7.4"


def test_a_child_has_a_certificate_of_its_own(emulator: Emulator, client: ManagedIdentityClient) -> None:
    before = client.acquire_token(RESOURCE)
    vault = client.resource(RESOURCE)
    assert vault.get(secret(emulator)).status_code == 200

    def action() -> bool:
        token = client.acquire_token(RESOURCE)
        assert token.certificate is not None
        assert before.certificate is not None
        is_new = token.certificate.x5t_s256 != before.certificate.x5t_s256
        return is_new and vault.get(secret(emulator)).json()["value"] == "correct horse"

    assert status_of(in_child(action)) == 0
    # The parent goes on with what it had, on the connection that it had.
    assert client.acquire_token(RESOURCE).token == before.token
    assert vault.get(secret(emulator)).read()
    assert vault.get(secret(emulator)).tls["reused"] is True
    assert emulator.counts()["issue"] == 2


def test_objects_of_the_parent_can_be_read_and_dropped_in_a_child(emulator: Emulator, client: ManagedIdentityClient) -> None:
    kept = [client.acquire_token(RESOURCE)]
    responses = [client.resource(RESOURCE).get(secret(emulator))]

    def action() -> bool:
        token = kept.pop()
        certificate = token.certificate
        assert certificate is not None
        facts = bool(token.token) and bool(certificate.x5t_s256)
        try:
            responses[0].read()
        except RuntimeError:
            facts = facts and True
        else:
            return False
        del token, certificate
        responses.clear()
        return facts

    assert status_of(in_child(action)) == 0
    assert responses[0].json()["value"] == "correct horse"


def test_certificates_of_the_parent_stay_with_it(emulator: Emulator, client: ManagedIdentityClient) -> None:
    token = client.acquire_token(RESOURCE)
    response = client.resource(RESOURCE).get(secret(emulator))

    def action() -> bool:
        assert response.token is not None
        for certificate in (token.certificate, response.token.certificate):
            assert certificate is not None
            assert not certificate.has_private_key
            with pytest.raises(ValueError, match="no private key"):
                SchannelSession(certificate)
        return True

    assert status_of(in_child(action)) == 0
    assert token.certificate is not None
    assert token.certificate.has_private_key
    with SchannelSession(token.certificate) as session:
        assert session.get(secret(emulator), headers={"Authorization": token.authorization}).status_code == 200


def test_children_log(emulator: Emulator, client: ManagedIdentityClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "keybound")
    client.acquire_token(RESOURCE)
    wait_for_records()

    def action() -> bool:
        caplog.clear()
        client.acquire_token(RESOURCE)
        wait_for_records()
        return "metadata" in caplog.text

    assert status_of(in_child(action)) == 0


def test_no_handler_runs_while_the_process_forks(emulator: Emulator, run: Callable[..., CompletedProcess[str]]) -> None:
    # The handler holds the lock of its file for most of the time, and a child that inherits it locked waits for ever.
    code = """
import logging, os, sys, threading, time
import keybound
lock, held = threading.Lock(), threading.Event()
class Handler(logging.Handler):
    def emit(self, record):
        with lock:
            held.set()
            time.sleep(0.01)
logging.getLogger("keybound").addHandler(Handler())
logging.getLogger("keybound").setLevel("DEBUG")
client = keybound.ManagedIdentityClient()
for _ in range(20):
    client.acquire_token("https://vault.azure.net", force_refresh=True)
    held.wait()
    held.clear()
    child = os.fork()
    if child == 0:
        os._exit(0 if lock.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0
# The records arrive later.
assert keybound._native.wait_for_records(30)
assert held.is_set()
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_children_of_children(emulator: Emulator, client: ManagedIdentityClient) -> None:
    client.acquire_token(RESOURCE)

    def action() -> bool:
        client.acquire_token(RESOURCE)
        return status_of(in_child(lambda: client.acquire_token(RESOURCE).token_type == "mtls_pop")) == 0

    assert status_of(in_child(action)) == 0
    assert emulator.counts()["issue"] == 3


def test_placeholders_are_valid_in_a_child(emulator: Emulator, client: ManagedIdentityClient) -> None:
    calls = BoundCalls(client)
    headers = {"Authorization": f"Bearer {calls.placeholder(RESOURCE)}"}
    assert calls.send("GET", secret(emulator), headers=headers).status_code == 200
    assert status_of(in_child(lambda: calls.send("GET", secret(emulator), headers=headers).status_code == 200)) == 0
    assert status_of(in_child(lambda: calls.send("GET", secret(emulator)).status_code == 401)) == 0


def test_forks_under_load(emulator: Emulator, warm_client: ManagedIdentityClient) -> None:
    vault = warm_client.resource(RESOURCE)
    is_done = threading.Event()
    failures: list[BaseException] = []

    def load() -> None:
        try:
            while not is_done.is_set():
                vault.get(secret(emulator)).read()
                warm_client.acquire_token(RESOURCE)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            children = [in_child(lambda: vault.get(secret(emulator)).status_code == 200) for _ in range(5)]
            assert [status_of(child) for child in children] == [0] * 5
    finally:
        is_done.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_the_emulator_of_the_parent(emulator: Emulator) -> None:
    def action() -> bool:
        with pytest.raises(RuntimeError, match="the emulator is that of the parent process"):
            emulator.records()
        token = ManagedIdentityClient(**emulator.client_settings).acquire_token(RESOURCE)
        emulator.close()
        return token.token_type == "mtls_pop"

    assert status_of(in_child(action)) == 0
    assert emulator.counts()["token"] == 1


def token_type(client_settings: dict[str, object]) -> str:
    return ManagedIdentityClient(**client_settings).acquire_token(RESOURCE).token_type  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(emulator: Emulator, client: ManagedIdentityClient, method: str) -> None:
    client.acquire_token(RESOURCE)
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        result = pool.map_async(token_type, [emulator.client_settings] * 4)
        assert result.get(timeout=60) == ["mtls_pop"] * 4


GUNICORN = """
import keybound, threading

client = keybound.ManagedIdentityClient()
client.acquire_token("https://vault.azure.net")

def app(environ, start_response):
    vault = client.resource("https://vault.azure.net")
    body = vault.get(environ["PATH_INFO"][1:] + "/secrets/db?api-version=7.4").read()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


def test_gunicorn_with_preload(emulator: Emulator, run: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "service.py").write_text(GUNICORN)
    driver = """
import concurrent.futures, os, re, signal, subprocess, sys, time, urllib.request
server = subprocess.Popen(
    [sys.executable, *"-m gunicorn --preload --workers 4 --bind 127.0.0.1:0 --chdir".split(), sys.argv[1], "service:app"],
    stderr=subprocess.PIPE, text=True)
port = None
for line in server.stderr:
    found = re.search(r"127\\.0\\.0\\.1:(\\d+)", line)
    if found:
        port = found[1]
        break
def get(_):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{sys.argv[2]}", timeout=20) as response:
        return response.status
with concurrent.futures.ThreadPoolExecutor(8) as threads:
    print(sorted(set(threads.map(get, range(24)))))
server.send_signal(signal.SIGTERM)
server.communicate(timeout=20)
sys.exit(server.returncode)
"""
    done = run(driver, str(tmp_path), emulator.vault, timeout=120)
    assert (done.stdout, done.returncode) == ("[200]\n", 0), done.stderr


def test_results_of_msal_in_a_child(emulator: Emulator, client: ManagedIdentityClient) -> None:
    of_program = msal.ManagedIdentityClient(client=client)

    def acquire() -> dict[str, Any]:
        return of_program.acquire_token_for_client(resource=RESOURCE, mtls_proof_of_possession=True, with_attestation_support=True)

    def call(result: dict[str, Any]) -> int:
        authorization = f"{result['token_type']} {result['access_token']}"
        with SchannelSession(result["binding_certificate"], timeout=LIMIT) as session:
            return session.get(secret(emulator), headers={"Authorization": authorization}).status_code

    before = acquire()
    session = SchannelSession(before["binding_certificate"])

    def in_new_process() -> bool:
        own = acquire()
        # The key of the parent stays with it, also for sessions that are open.
        with pytest.raises(ValueError, match="no private key"):
            SchannelSession(before["binding_certificate"])
        with pytest.raises(RuntimeError, match="parent"):
            session.get(secret(emulator), headers={"Authorization": "mtls_pop x"})
        return own["cert_thumbprint_sha256"] != before["cert_thumbprint_sha256"] and call(own) == 200

    assert status_of(in_child(in_new_process)) == 0
    assert call(before) == 200
