from __future__ import annotations

import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import requests
from conftest import RESOURCE
from test_adapters import secret, sent
from urllib3.util import Timeout

import keybound
import keybound.requests

if TYPE_CHECKING:
    from pathlib import Path

    from recorder import Recorder

    from keybound import BoundCalls
    from keybound.emulator import Emulator

pytest_plugins = ["recorder"]


def test_auth_and_adapter_of_a_session_of_the_caller(emulator: Emulator, calls: BoundCalls) -> None:
    with requests.Session() as session:
        session.mount("https://", keybound.requests.BoundAdapter(calls))
        vault = keybound.requests.BoundAuth(calls, RESOURCE)
        assert session.get(secret(emulator), auth=vault).json()["value"] == "correct horse"
        graph = keybound.requests.BoundAuth(calls, "https://graph.microsoft.com")
        assert session.get(f"{emulator.graph}/v1.0/applications", auth=graph).status_code == 200
        assert session.get(secret(emulator)).status_code == 401


def test_sessions_cannot_be_pickled(calls: BoundCalls) -> None:
    with keybound.requests.session(calls, RESOURCE) as session:
        with pytest.raises(TypeError, match="BoundAdapter"):
            pickle.dumps(session)
        with pytest.raises(TypeError, match="BoundAdapter"):
            copy.copy(session.get_adapter("https://vault.azure.net"))


def test_the_library_never_has_a_token(emulator: Emulator, calls: BoundCalls) -> None:
    response = keybound.requests.session(calls, RESOURCE).get(secret(emulator))
    seen = repr(vars(response.request)) + repr(response.request.headers) + repr(vars(response))
    assert calls.acquire_token(RESOURCE).token not in seen
    assert response.request.headers["Authorization"] == f"Bearer {calls.placeholder(RESOURCE)}"


def test_trust_and_certificate_are_those_of_the_client(
    emulator: Emulator,
    calls: BoundCalls,
    warm_client: keybound.ManagedIdentityClient,
    recorder: Recorder,
    recorder_certificate: Path,
) -> None:
    session = keybound.requests.session(calls, RESOURCE)
    with pytest.raises(ValueError, match="verify=False"):
        session.get(secret(emulator), verify=False)
    with pytest.raises(ValueError, match="cert"):
        session.get(secret(emulator), cert="client.pem")
    assert sent(emulator) == []
    # As REQUESTS_CA_BUNDLE sets it: it neither adds nor removes trust.
    assert session.get(secret(emulator), verify="/nonexistent").status_code == 200
    emulator_only = keybound.requests.session(keybound.BoundCalls(warm_client), RESOURCE)
    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        emulator_only.get(recorder.origin, verify=str(recorder_certificate))
    assert isinstance(caught.value.__cause__, keybound.TlsFailed)
    assert recorder.requests == []


def test_netrc_and_proxies_of_the_environment_change_nothing(
    emulator: Emulator, calls: BoundCalls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password swordfish\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    emulator.inject(f"vault=redirect:{emulator.graph}/*1")
    assert keybound.requests.session(calls, RESOURCE).get(secret(emulator)).status_code == 401
    (record,) = sent(emulator, "graph")
    assert "authorization" not in record["headers"]


def test_streamed_responses(emulator: Emulator, calls: BoundCalls) -> None:
    session = keybound.requests.session(calls, RESOURCE)
    emulator.inject("vault=oversized:3000000*2")
    with session.get(secret(emulator), stream=True) as response:
        parts = list(response.iter_content(100_000))
        assert len(parts) > 10
        assert sum(map(len, parts)) == 3_000_000
    with session.get(secret(emulator), stream=True) as response:
        assert len(response.raw.read(10)) == 10
    # The connection of a response that was left is not reused, and the session goes on.
    assert session.get(secret(emulator)).status_code == 200


def test_timeout_while_reading(emulator: Emulator, calls: BoundCalls) -> None:
    session = keybound.requests.session(calls, RESOURCE)
    # More than arrives in that time.
    emulator.inject("vault=oversized:1000000000000*1")
    with session.get(secret(emulator), stream=True, timeout=1) as response, pytest.raises(requests.exceptions.ChunkedEncodingError):
        for _ in response.iter_content(1_000_000):
            pass


@pytest.mark.parametrize("timeout", [1, 1.0, (0.1, 1), (1, 0.1), Timeout(total=1), Timeout(connect=0.1, read=1)], ids=str)
def test_forms_of_timeouts(timeout: Any, emulator: Emulator, calls: BoundCalls) -> None:
    session = keybound.requests.session(calls, RESOURCE)
    emulator.inject("vault=hang*1")
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(secret(emulator), timeout=timeout)


def test_timeouts_of_three_parts_are_errors(emulator: Emulator, calls: BoundCalls) -> None:
    with pytest.raises(ValueError, match="pair"):
        keybound.requests.session(calls, RESOURCE).get(secret(emulator), timeout=(1, 2, 3))  # type: ignore[arg-type]
    assert sent(emulator) == []


@pytest.mark.parametrize("timeout", [None, (1, None), (None, 0.1), (None, None)], ids=str)
def test_parts_without_a_timeout_have_that_of_the_calls(timeout: Any, emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=delay:700*1")
    assert keybound.requests.session(calls, RESOURCE).get(secret(emulator), timeout=timeout).status_code == 200


def test_cookies(recorder: Recorder, calls: BoundCalls) -> None:
    session = keybound.requests.session(calls, RESOURCE)
    recorder.respond(b"", "Set-Cookie: a=1; Secure", "Set-Cookie: b=2; Path=/x")
    response = session.get(f"{recorder.origin}/x")
    assert response.cookies.get_dict() == {"a": "1", "b": "2"}
    recorder.requests.clear()
    session.get(f"{recorder.origin}/x")
    assert "cookie: b=2; a=1" in recorder.only_head()


def test_files(recorder: Recorder, calls: BoundCalls) -> None:
    session = keybound.requests.session(calls, RESOURCE)
    recorder.respond(b"")
    session.put(f"{recorder.origin}/x", data=io.BytesIO(b"content"))
    assert "content-length: 7" in recorder.only_head()
    assert recorder.only_body() == b"content"
    recorder.requests.clear()
    session.post(f"{recorder.origin}/x", data={"a": "1"}, files={"f": io.BytesIO(b"content")})
    assert b"content" in recorder.only_body()
    recorder.requests.clear()
    session.post(f"{recorder.origin}/x", data="text ü".encode())
    assert recorder.only_body() == "text ü".encode()


@pytest.mark.filterwarnings("ignore:Requests has determined the content-length")
@pytest.mark.parametrize("form", ["file", "open file", "iterator"])
def test_text_is_encoded_as_by_requests(form: str, recorder: Recorder, calls: BoundCalls, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("text ü", encoding="utf-8")
    recorder.respond(b"")
    with path.open(encoding="utf-8") as opened:
        body: Any = {"file": io.StringIO("text"), "open file": opened, "iterator": iter(["te", b"xt"])}[form]
        keybound.requests.session(calls, RESOURCE).post(recorder.origin, data=body)
    if form == "iterator":
        assert recorder.only_chunks() == b"text"
    else:
        assert recorder.only_body() == {"file": b"text", "open file": "text ü".encode()}[form]


def test_retries_of_the_caller_do_not_exist(recorder: Recorder, calls: BoundCalls) -> None:
    adapter = keybound.requests.BoundAdapter(calls)
    assert adapter.max_retries.total == 0
    recorder.cut()
    with requests.Session() as session:
        session.mount("https://", adapter)
        with pytest.raises(requests.exceptions.ConnectionError):
            session.post(recorder.origin, data=b"once")
    assert recorder.only_body() == b"once"
