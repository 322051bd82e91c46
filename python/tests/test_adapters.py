"""What the adapters of all libraries do alike."""

from __future__ import annotations

import traceback
import weakref
from typing import TYPE_CHECKING, Any, Callable

import pytest
import requests
from conftest import RESOURCE, wait_for_records
from libraries import HTTPX, LIBRARIES, REQUESTS, URLLIB3, Library

import keybound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder import Recorder

    from keybound import BoundCalls
    from keybound.emulator import Emulator

pytest_plugins = ["recorder"]

of_each_library = pytest.mark.parametrize("library", LIBRARIES, ids=str)


def secret(emulator: Emulator, name: str = "db") -> str:
    return f"{emulator.vault}/secrets/{name}?api-version=7.4"


def sent(emulator: Emulator, leg: str = "vault") -> list[dict[str, Any]]:
    return [record for record in emulator.records() if record["leg"] == leg]


@of_each_library
def test_requests_have_token_and_certificate(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    answer = library.send(calls, RESOURCE, "GET", secret(emulator), headers={"X-Ms-Client-Request-Id": "id-of-the-caller"})
    assert answer.status == 200
    assert b"correct horse" in answer.body
    assert answer.text_headers["content-type"].startswith("application/json")
    (record,) = sent(emulator)
    assert record["headers"]["authorization"].startswith("mtls_pop ")
    assert record["headers"]["x-ms-client-request-id"] == "id-of-the-caller"
    assert record["client_certificate"] == calls.acquire_token(RESOURCE).certificate.x5t_s256  # type: ignore[union-attr]


@of_each_library
def test_requests_without_authorization_have_neither(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    assert library.send(calls, None, "GET", secret(emulator)).status == 401
    (record,) = sent(emulator)
    assert "authorization" not in record["headers"]
    assert record["client_certificate"] is None


@of_each_library
def test_redirects_to_another_origin_have_neither(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject(f"vault=redirect:{emulator.graph}/v1.0/applications*1")
    assert library.send(calls, RESOURCE, "GET", secret(emulator)).status == 401
    (first,), (second,) = sent(emulator), sent(emulator, "graph")
    assert first["client_certificate"]
    assert "authorization" not in second["headers"]
    assert second["client_certificate"] is None


@of_each_library
def test_redirects_within_the_origin_keep_both(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=redirect:/secrets/db?api-version=7.4*1")
    assert library.send(calls, RESOURCE, "GET", secret(emulator, "other")).status == 200
    assert [record["status"] for record in sent(emulator)] == [307, 200]


@of_each_library
def test_foreign_tokens_are_not_sent(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    others = keybound.BoundCalls(keybound.ManagedIdentityClient(**emulator.client_settings))
    token = calls.acquire_token(RESOURCE)
    for value in (f"Bearer {others.placeholder(RESOURCE)}", token.authorization, f"Bearer {token.token}", "Basic dTpw"):
        with pytest.raises(keybound.InvalidRequest) as caught:
            library.send(calls, None, "GET", secret(emulator), headers={"Authorization": value})
        assert token.token not in repr(caught.value)
    assert sent(emulator) == []


@of_each_library
def test_plain_http_is_an_error(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    with pytest.raises(library.unsupported):
        library.send(calls, RESOURCE, "GET", f"{emulator.imds}/metadata/identity/getplatformmetadata")
    assert emulator.records() == []


@of_each_library
def test_bodies_in_memory(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    answer = library.send(
        calls, RESOURCE, "PUT", secret(emulator, "new"), b'{"value":"v"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status == 200
    assert sent(emulator)[0]["body_bytes"] == 13


@of_each_library
def test_generated_bodies_are_sent_in_chunks(library: Library, recorder: Recorder, calls: BoundCalls) -> None:
    def parts() -> Iterator[bytes]:
        yield b"first "
        yield b"second"

    recorder.respond(b"ok")
    assert library.send(calls, RESOURCE, "POST", f"{recorder.origin}/x", parts()).body == b"ok"
    assert "transfer-encoding: chunked" in recorder.only_head()
    assert "content-length" not in recorder.only_head()
    assert b"first " in recorder.only_body()
    assert recorder.only_body().endswith(b"6\r\nsecond\r\n0\r\n\r\n")


@of_each_library
def test_generated_bodies_reach_a_vault(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    # The vault requests the certificate after the head of the request.
    parts = iter([b'{"value":', b'"v"}'])
    headers = {"Content-Type": "application/json"}
    assert library.send(calls, RESOURCE, "PUT", secret(emulator, "new"), parts, headers=headers).status == 200
    assert sent(emulator)[0]["body_bytes"] == 13


@of_each_library
def test_generated_bodies_with_a_length(library: Library, recorder: Recorder, calls: BoundCalls) -> None:
    recorder.respond(b"")
    library.send(calls, RESOURCE, "POST", f"{recorder.origin}/x", iter([b"12", b"345"]), headers={"Content-Length": "5"})
    assert "content-length: 5" in recorder.only_head()
    assert recorder.only_body() == b"12345"


def ten_parts() -> Iterator[bytes]:
    for number in range(10):
        yield b"part %d." % number


@of_each_library
def test_generated_bodies_are_whole_after_a_refused_connection(
    library: Library, late_recorder: Recorder, calls: BoundCalls
) -> None:
    late_recorder.respond(b"ok")
    body = ten_parts()
    with pytest.raises(library.never_sent) as caught:
        library.send(calls, RESOURCE, "POST", f"{late_recorder.origin}/x", body)
    assert not isinstance(caught.value, library.may_have_been_sent) or library is REQUESTS
    late_recorder.start()
    assert library.send(calls, RESOURCE, "POST", f"{late_recorder.origin}/x", body).body == b"ok"
    assert late_recorder.only_chunks() == b"".join(ten_parts())


@of_each_library
def test_generated_bodies_are_whole_after_a_failed_acquisition(
    library: Library, emulator: Emulator, recorder: Recorder, recorder_certificate: Path
) -> None:
    settings = emulator.client_settings
    settings["loopback_ca_pem"] += recorder_certificate.read_bytes()
    calls = keybound.BoundCalls(keybound.ManagedIdentityClient(**settings, retries=False))
    recorder.respond(b"ok")
    emulator.inject("token=status:503*1")
    body = ten_parts()
    # urllib3 repeats the request itself.
    if library is not URLLIB3:
        with pytest.raises(library.never_sent):
            library.send(calls, RESOURCE, "POST", f"{recorder.origin}/x", body)
    assert library.send(calls, RESOURCE, "POST", f"{recorder.origin}/x", body).body == b"ok"
    assert recorder.only_chunks() == b"".join(ten_parts())


class Again:
    """A body that can be read any number of times."""

    def __iter__(self) -> Iterator[bytes]:
        return ten_parts()


class Unseekable(Again):
    """A file such as a pipe."""

    def __init__(self) -> None:
        self._parts = ten_parts()

    def read(self, size: int = -1) -> bytes:
        return next(self._parts, b"")


class Once:
    """An iterator that cannot be referred to weakly, and hides that it is equal to none."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = ten_parts()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def __eq__(self, other: object) -> bool:
        raise AssertionError


READ_ONCE: dict[str, Callable[[], Any]] = {
    "generator": ten_parts,
    "map": lambda: map(bytes, ten_parts()),
    "iterator of a list": lambda: iter(list(ten_parts())),
    "iterator of a class": Once,
    "file": Unseekable,
}


@pytest.mark.parametrize("library", [REQUESTS, URLLIB3, HTTPX], ids=str)
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("form", READ_ONCE)
def test_what_is_read_once_is_not_sent_twice(
    library: Library, method: str, form: str, recorder: Recorder, calls: BoundCalls
) -> None:
    body = READ_ONCE[form]()
    recorder.cut()
    # urllib3 repeats a PUT.
    with pytest.raises((library.may_have_been_sent, keybound.InvalidRequest)):
        library.send(calls, RESOURCE, method, f"{recorder.origin}/x", body)
    recorder.respond(b"ok")
    with pytest.raises(keybound.InvalidRequest, match="iterator") as caught:
        library.send(calls, RESOURCE, method, f"{recorder.origin}/x", body)
    assert not caught.value.may_have_been_sent
    assert recorder.only_chunks() == b"".join(ten_parts())


@of_each_library
def test_what_can_be_read_again_is_sent_again(library: Library, recorder: Recorder, calls: BoundCalls) -> None:
    recorder.respond(b"ok")
    body = Again()
    for _ in range(2):
        recorder.requests.clear()
        assert library.send(calls, RESOURCE, "PUT", f"{recorder.origin}/x", body).body == b"ok"
        assert recorder.only_chunks() == b"".join(ten_parts())


def test_bodies_that_were_sent_are_not_kept(recorder: Recorder, calls: BoundCalls) -> None:
    class Step:
        def __call__(self, part: bytes) -> bytes:
            return part

    recorder.respond(b"ok")
    step = Step()
    kept = weakref.ref(step)
    body = map(step, ten_parts())
    del step
    calls.send("PUT", recorder.origin, content=body)
    calls.send("PUT", recorder.origin, content=iter([b"other"]))
    with pytest.raises(keybound.InvalidRequest):
        calls.send("PUT", recorder.origin, content=body)
    del body
    calls.send("PUT", recorder.origin, content=iter([b"other"]))
    assert kept() is None


@of_each_library
def test_compressed_responses(library: Library, recorder: Recorder, calls: BoundCalls) -> None:
    recorder.respond_gzip(b"text " * 1000)
    assert library.send(calls, RESOURCE, "GET", f"{recorder.origin}/x").body == b"text " * 1000


@of_each_library
def test_large_responses(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=oversized:3000000*1")
    assert len(library.send(calls, RESOURCE, "GET", secret(emulator)).body) == 3_000_000


@of_each_library
def test_head_has_no_body(library: Library, recorder: Recorder, calls: BoundCalls) -> None:
    recorder.respond(b"not for HEAD")
    answer = library.send(calls, RESOURCE, "HEAD", f"{recorder.origin}/x")
    assert (answer.status, answer.body) == (200, b"")


@of_each_library
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_cut_requests_are_not_repeated(library: Library, method: str, recorder: Recorder, calls: BoundCalls) -> None:
    recorder.cut()
    with pytest.raises(library.may_have_been_sent) as caught:
        library.send(calls, RESOURCE, method, f"{recorder.origin}/x", b"once")
    if library is REQUESTS:
        from urllib3.exceptions import ProtocolError

        assert isinstance(caught.value.args[0], ProtocolError)
    assert f"{recorder.origin.removeprefix('https://')} closed the connection" in str(caught.value)
    assert recorder.only_body() == b"once"


@of_each_library
def test_cut_responses(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=truncated*1")
    # urllib3 repeats a GET.
    with pytest.raises(library.broken_body) as caught:
        library.send(calls, RESOURCE, "POST", secret(emulator), b"x")
    assert emulator.vault.partition("://")[2] in str(caught.value)
    assert len(sent(emulator)) == 1


@of_each_library
def test_timeouts_in_the_body(library: Library, recorder: Recorder, calls: BoundCalls) -> None:
    recorder.hold(b"the", 10)
    with pytest.raises((*library.broken_body, library.timed_out)) as caught:
        library.send(calls, RESOURCE, "POST", f"{recorder.origin}/x", b"x", timeout=1)
    if library is REQUESTS:
        # A ConnectionError would say that nothing was sent.
        assert isinstance(caught.value, requests.exceptions.ChunkedEncodingError)
    assert any(isinstance(error, keybound.DeadlineReached) for error in chain(caught.value))
    assert len(recorder.requests) == 1


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@of_each_library
def test_unreachable_hosts(library: Library, calls: BoundCalls) -> None:
    with pytest.raises(library.never_sent) as caught:
        library.send(calls, RESOURCE, "POST", "https://127.0.0.1:1/", b"x")
    assert isinstance(caught.value.__cause__, keybound.Unreachable)
    assert "no connection to 127.0.0.1:1: " in str(caught.value)


@of_each_library
def test_timeouts_after_the_request_was_sent(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=hang*1")
    with pytest.raises(library.timed_out):
        library.send(calls, RESOURCE, "POST", secret(emulator), b"x", timeout=1)
    assert len(sent(emulator)) <= 1


@of_each_library
def test_timeouts_before_the_request_was_sent(library: Library, emulator: Emulator) -> None:
    client = keybound.ManagedIdentityClient(**emulator.client_settings)
    emulator.inject("metadata=hang*always")
    with pytest.raises(library.timed_out_before):
        # Each retry of urllib3 waits as long.
        library.send(keybound.BoundCalls(client), RESOURCE, "POST", secret(emulator), b"x", timeout=0.3)
    assert sent(emulator) == []


@of_each_library
def test_timeouts_default_to_those_of_the_calls(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    client = keybound.ManagedIdentityClient(**emulator.client_settings)
    client.acquire_token(RESOURCE)
    emulator.inject("vault=hang*1")
    with pytest.raises(library.timed_out):
        library.send(keybound.BoundCalls(client, timeout=1), RESOURCE, "POST", secret(emulator), b"x")


@of_each_library
def test_failures_without_a_remedy_are_not_connection_errors(library: Library, emulator: Emulator) -> None:
    # Without simulated keys, no key of a test host is strong enough.
    client = keybound.ManagedIdentityClient(imds_endpoint=emulator.imds, loopback_ca_pem=emulator.ca_pem, simulated=False)
    with pytest.raises(keybound.KeyUnavailable):
        library.send(keybound.BoundCalls(client), RESOURCE, "GET", secret(emulator))
    assert sent(emulator) == []


@of_each_library
def test_malformed_headers_are_not_sent(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    with pytest.raises(Exception) as caught:
        library.send(calls, RESOURCE, "GET", secret(emulator), headers={"X-A": "b\r\nAuthorization: Basic dTpw"})
    if library is not REQUESTS:
        assert isinstance(caught.value, keybound.InvalidRequest)
    assert sent(emulator) == []


@of_each_library
def test_claims_challenges_are_answered_by_the_client(library: Library, emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject("vault=claims-challenge*1")
    assert library.send(calls, RESOURCE, "GET", secret(emulator)).status == 200
    assert [record["status"] for record in sent(emulator)] == [401, 200]


@of_each_library
def test_no_log_has_a_token(library: Library, emulator: Emulator, calls: BoundCalls, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    # A new token is requested, too.
    emulator.inject("vault=claims-challenge*1")
    assert library.send(calls, RESOURCE, "GET", secret(emulator)).status == 200
    emulator.inject("vault=reset*always")
    with pytest.raises(library.may_have_been_sent) as caught:
        library.send(calls, RESOURCE, "POST", secret(emulator), b"x")
    emulator.clear_faults()
    token = calls.acquire_token(RESOURCE).token
    wait_for_records()
    assert caplog.records
    for part in token.split("."):
        assert part not in caplog.text
        assert part not in "".join(traceback.format_exception(caught.type, caught.value, caught.tb))


def test_only_urllib3_repeats_a_cut_get(recorder: Recorder, calls: BoundCalls) -> None:
    recorder.cut()
    for library, count in [(library, 4 if library is URLLIB3 else 1) for library in LIBRARIES]:
        recorder.requests.clear()
        with pytest.raises(library.may_have_been_sent):
            library.send(calls, RESOURCE, "GET", f"{recorder.origin}/x")
        assert len(recorder.requests) == count, library.name
