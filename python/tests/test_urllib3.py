from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import urllib3
from conftest import RESOURCE
from test_adapters import secret, sent

from keybound.urllib3 import BoundPoolManager

if TYPE_CHECKING:
    from recorder import Recorder

    from keybound import BoundCalls
    from keybound.emulator import Emulator

pytest_plugins = ["recorder"]


def test_headers_of_the_pool_and_of_requests(emulator: Emulator, calls: BoundCalls) -> None:
    pool = BoundPoolManager(calls, RESOURCE, headers={"X-Ms-Client-Request-Id": "of-the-pool"})
    assert pool.request("GET", secret(emulator)).status == 200
    assert pool.request("GET", secret(emulator), headers={"X-Ms-Client-Request-Id": "own"}).json()["value"] == "correct horse"
    assert [record["headers"]["x-ms-client-request-id"] for record in sent(emulator)] == ["of-the-pool", "own"]
    placeholder = f"Bearer {calls.placeholder('https://graph.microsoft.com')}"
    graph = pool.request("GET", f"{emulator.graph}/v1.0/applications", headers={"Authorization": placeholder})
    assert graph.status == 200


def test_all_ways_of_sending_have_the_placeholder(emulator: Emulator, calls: BoundCalls) -> None:
    pool = BoundPoolManager(calls, RESOURCE)
    url, path = secret(emulator), secret(emulator).removeprefix(emulator.vault)
    host, _, port = emulator.vault.removeprefix("https://").partition(":")
    responses = [
        pool.urlopen("GET", url),
        pool.urlopen("GET", url, headers=None),
        pool.urlopen("GET", url, headers={"X-Ms-Client-Request-Id": "own"}),
        pool.request_encode_url("GET", url),
        pool.request_encode_body("GET", url),
        pool.connection_from_url(url).request("GET", path),
        pool.connection_from_url(url).urlopen("GET", path),
        pool.connection_from_url(url).urlopen("GET", path, None, {"X-Ms-Client-Request-Id": "own"}),
        pool.connection_from_host(host, int(port), "https").request("GET", path),
        pool.connection_from_context({"scheme": "https", "host": host, "port": int(port)}).request("GET", path),
    ]
    assert [response.status for response in responses] == [200] * len(responses)
    assert all(record["client_certificate"] for record in sent(emulator))
    with pytest.raises(urllib3.exceptions.URLSchemeUnknown):
        pool.connection_from_url(emulator.imds)


def test_a_redirected_request_that_is_retried_has_no_placeholder(
    emulator: Emulator, late_recorder: Recorder, calls: BoundCalls
) -> None:
    class Starting(urllib3.Retry):
        def sleep(self, response: urllib3.BaseHTTPResponse | None = None) -> None:
            if response is None:
                late_recorder.start()

    late_recorder.respond(b"ok")
    emulator.inject(f"vault=redirect:{late_recorder.origin}/*1")
    pool = BoundPoolManager(calls, RESOURCE, retries=Starting(3))
    # The other origin refuses the first connection.
    assert pool.urlopen("GET", secret(emulator)).data == b"ok"
    assert "authorization" not in late_recorder.only_head()


def test_a_pool_of_one_origin_follows_no_redirect_to_another(emulator: Emulator, calls: BoundCalls) -> None:
    emulator.inject(f"vault=redirect:{emulator.graph}/v1.0/applications*1")
    pool = BoundPoolManager(calls, RESOURCE).connection_from_url(emulator.vault)
    with pytest.raises(urllib3.exceptions.HostChangedError):
        pool.request("GET", "/secrets/db?api-version=7.4")
    assert sent(emulator, "graph") == []


def test_clear_drops_the_pools(emulator: Emulator, calls: BoundCalls) -> None:
    with BoundPoolManager(calls, RESOURCE) as pool:
        pool.request("GET", secret(emulator))
        of_origin = pool.connection_from_url(emulator.vault)
        assert pool.connection_from_url(emulator.vault) is of_origin
        pool.clear()
        assert pool.connection_from_url(emulator.vault) is not of_origin
        assert pool.request("GET", secret(emulator)).status == 200


def test_retries_of_statuses(emulator: Emulator, calls: BoundCalls) -> None:
    pool = BoundPoolManager(calls, RESOURCE, retries=urllib3.Retry(3, status_forcelist=[503]))
    emulator.inject("vault=status:503*2")
    assert pool.request("GET", secret(emulator)).status == 200
    assert [record["status"] for record in sent(emulator)] == [503, 503, 200]


def test_retries_can_be_disabled(recorder: Recorder, calls: BoundCalls) -> None:
    recorder.cut()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        BoundPoolManager(calls, RESOURCE, retries=False).request("GET", recorder.origin)
    assert len(recorder.requests) == 1


def test_responses_that_are_not_preloaded(emulator: Emulator, calls: BoundCalls) -> None:
    pool = BoundPoolManager(calls, RESOURCE)
    emulator.inject("vault=oversized:3000000*2")
    response = pool.request("GET", secret(emulator), preload_content=False)
    assert sum(map(len, response.stream(100_000))) == 3_000_000
    response = pool.request("GET", secret(emulator), preload_content=False)
    assert len(response.read(10)) == 10
    assert len(response.read1(10)) == 10
    response.close()
    assert pool.request("GET", secret(emulator)).status == 200


def test_compressed_responses_on_request(recorder: Recorder, calls: BoundCalls) -> None:
    pool = BoundPoolManager(calls, RESOURCE)
    recorder.respond_gzip(b"text")
    assert pool.request("GET", recorder.origin, headers=urllib3.make_headers(accept_encoding=True)).data == b"text"
    assert "accept-encoding: gzip" in recorder.only_head()
    recorder.requests.clear()
    raw = pool.request("GET", recorder.origin, decode_content=False)
    assert raw.data.startswith(b"\x1f\x8b")
    assert "accept-encoding: identity" in recorder.only_head()


def test_forms_of_bodies(recorder: Recorder, calls: BoundCalls) -> None:
    pool = BoundPoolManager(calls, RESOURCE)
    recorder.respond(b"")
    pool.request("POST", recorder.origin, json={"a": 1})
    assert recorder.only_body() == b'{"a":1}'
    recorder.requests.clear()
    pool.request("POST", recorder.origin, fields={"a": "1"})
    assert b'name="a"' in recorder.only_body()
    recorder.requests.clear()
    pool.request("POST", recorder.origin, body=io.BytesIO(b"file"))
    assert b"file" in recorder.only_body()
    recorder.requests.clear()
    pool.request("POST", recorder.origin, body=io.StringIO("text ü"))
    assert recorder.only_chunks() == "text ü".encode()
    recorder.requests.clear()
    parts: list[str | bytes] = ["text", b"bytes"]
    pool.request("POST", recorder.origin, body=iter(parts))
    assert b"4\r\ntext\r\n5\r\nbytes\r\n" in recorder.only_body()


def test_a_post_is_repeated_only_as_the_caller_says(recorder: Recorder, calls: BoundCalls) -> None:
    recorder.cut()
    retries = urllib3.Retry(2, allowed_methods=None)
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        BoundPoolManager(calls, RESOURCE, retries=retries).request("POST", recorder.origin, body=b"x")
    assert len(recorder.requests) == 3


def test_a_repeated_post_has_the_whole_generator(late_recorder: Recorder, calls: BoundCalls) -> None:
    class Starting(urllib3.Retry):
        def sleep(self, response: urllib3.BaseHTTPResponse | None = None) -> None:
            late_recorder.start()

    late_recorder.respond(b"ok")
    pool = BoundPoolManager(calls, RESOURCE, retries=Starting(1))
    assert pool.request("POST", late_recorder.origin, (b"part %d." % number for number in range(10))).status == 200
    assert late_recorder.only_chunks() == b"".join(b"part %d." % number for number in range(10))
