"""Bound calls through requests.

    calls = keybound.BoundCalls(keybound.ManagedIdentityClient())
    vault = keybound.requests.session(calls, "https://vault.azure.net")
    secret = vault.get("https://my-vault.vault.azure.net/secrets/db?api-version=7.4").json()

Sessions, cookies, redirects, hooks and streaming are those of requests; the connections are those of the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import ConnectTimeout, ReadTimeout
from urllib3.exceptions import ProtocolError
from urllib3.util import Timeout

from keybound._adapter import call_timeout, header_pairs, is_connection_failure
from keybound._errors import DeadlineReached, KeyboundError, with_causes
from keybound._upload import Converted, encoded_chunks, is_in_memory
from keybound._urllib3_response import new_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keybound._calls import BoundCalls

__all__ = ["BoundAdapter", "BoundAuth", "session"]

_Timeout = Union[float, "tuple[float | None, float | None]", Timeout, None]


def session(calls: BoundCalls, resource: str) -> requests.Session:
    """A session whose requests are bound calls of a resource. Plain http URLs are errors; the environment and ``.netrc`` are not
    read.

    Args:
        calls: sends the requests.
        resource: that of the tokens, such as ``https://vault.azure.net``.

    """
    new = requests.Session()
    # The environment would add credentials of .netrc to redirects.
    new.trust_env = False
    new.auth = BoundAuth(calls, resource)
    new.adapters.clear()
    new.mount("https://", BoundAdapter(calls))
    return new


class BoundAuth(AuthBase):
    """Authenticates requests to a resource; for sessions with a `BoundAdapter` of the same calls.

    It writes a placeholder, never a token: requests removes it when it follows a redirect to another origin, and it is useless
    elsewhere.
    """

    def __init__(self, calls: BoundCalls, resource: str) -> None:
        """Creates the authentication.

        Args:
            calls: those of the adapter.
            resource: that of the tokens, such as ``https://vault.azure.net``.

        """
        self._authorization = f"Bearer {calls.placeholder(resource)}"

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Called by the session."""
        r.headers["Authorization"] = self._authorization
        return r


class BoundAdapter(HTTPAdapter):
    """Sends requests over the connections of a client; mount it at ``https://``.

    A request with a placeholder is sent with the token and the certificate that it is bound to, one without ``Authorization``
    with neither. Any other ``Authorization`` is an error, and nothing is sent. No request is sent twice: ``max_retries`` does not
    exist here.

    Trust, TLS and proxies are those of the client: ``proxies`` and a ``verify`` that names a file are ignored, ``verify=False``
    and ``cert`` are errors. The longer one of the connect and the read timeout is that of the whole call, including the body of
    the response; by default it is that of the calls.
    """

    def __init__(self, calls: BoundCalls) -> None:
        """Creates the adapter; nothing is opened yet.

        Args:
            calls: sends the requests.

        """
        super().__init__()
        self._calls = calls

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002
        timeout: _Timeout = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        """Called by the session.

        Raises:
            requests.exceptions.ReadTimeout: if the timeout passed and the request may have been sent.
            requests.exceptions.ConnectionError: if the connection failed. Its first argument is a
                `urllib3.exceptions.ProtocolError` if the request may have been sent, otherwise nothing was sent.
            requests.exceptions.ConnectTimeout: if the timeout passed before.
            KeyboundError: if no retry helps: the request is invalid, or there is no token for it. Nothing was sent.

        """
        if verify is False:
            raise ValueError("verify=False: servers are always verified; add an authority by ca_pem of the client")
        if cert is not None:
            raise ValueError("cert: the certificate is that of the client")
        method, url = request.method or "GET", request.url or ""
        try:
            response = self._calls.send(
                method,
                url,
                headers=header_pairs(request.headers.items()),
                content=_content(request.body),
                timeout=_call_timeout(timeout),
            )
        except KeyboundError as error:
            if not is_connection_failure(error):
                raise
            raise _converted(error, request) from error
        # requests makes a ConnectionError of a timeout in the body, after which libraries above repeat any method.
        return self.build_response(request, new_response(response, method, url, deadline_error=ConnectionError))

    def close(self) -> None:
        """Does nothing: the connections are those of the client."""

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a BoundAdapter cannot be pickled or copied: its connections and keys are those of this process")


def _content(body: Any) -> Any:
    # As requests, it encodes text.
    return body if is_in_memory(body) else Converted(encoded_chunks(body), body)


def _call_timeout(timeout: _Timeout) -> float | None:
    if isinstance(timeout, Timeout):
        started = timeout.clone()
        started.start_connect()
        return call_timeout(*map(Timeout.resolve_default_timeout, (started.connect_timeout, started.read_timeout)))
    if isinstance(timeout, tuple):
        if len(timeout) != 2:
            raise ValueError(f"the timeout {timeout} is not a number or a pair of the connect and the read timeout")
        return call_timeout(*timeout)
    return timeout


def _converted(error: KeyboundError, request: requests.PreparedRequest) -> requests.exceptions.RequestException:
    message = with_causes(error)
    if isinstance(error, DeadlineReached):
        return (ReadTimeout if error.may_have_been_sent else ConnectTimeout)(message, request=request)
    # Libraries above repeat any method after a ConnectionError, unless it has a ProtocolError.
    cause = ProtocolError(message, error) if error.may_have_been_sent else message
    return requests.exceptions.ConnectionError(cause, request=request)
