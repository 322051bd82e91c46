"""The session and its errors."""

from __future__ import annotations

import keybound
from keybound._errors import with_causes
from keybound._message import UNSET, with_json, with_params
from keybound._response import Response
from keybound.schannel_transport._request import Headers, check_url
from keybound.schannel_transport._response import SchannelHttpError, SchannelResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from typing_extensions import Self

__all__ = ["SchannelHttpError", "SchannelResponse", "SchannelSession", "SchannelTransportError"]


class SchannelTransportError(OSError):
    """The request failed before there was a response. The cause is a `keybound.KeyboundError`, whose ``code`` this has."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.code), self.__dict__.copy()


class SchannelSession:
    """Sends requests with tokens that are bound to one certificate, over connections that present it."""

    def __init__(
        self,
        client_certificate: keybound.BindingCertificate,
        *,
        timeout: float = 60.0,
    ) -> None:
        """Creates a session. Nothing is connected yet.

        Args:
            client_certificate: the ``binding_certificate`` of a result, with the trust, proxy and TLS versions of the client that
                acquired it; or a certificate of a Windows certificate store, with those of a client without arguments.
            timeout: of a request, in seconds, including reading its response.

        Raises:
            TypeError: if it is not such a certificate.
            ValueError: if its key cannot be used: it is closed, or from the parent of this process.

        """
        if not isinstance(client_certificate, keybound.BindingCertificate):
            raise TypeError("client_certificate is not a keybound.BindingCertificate (WindowsCertificate)")
        if not client_certificate.has_private_key:
            raise ValueError("client_certificate has no private key")
        self._certificate = client_certificate
        self._timeout = timeout
        self._is_closed = False

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> SchannelResponse:
        """Sends a GET request; see `request`."""
        hidden = Headers(headers)
        del headers
        return self._request("GET", url, hidden, None, None, params)

    def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        json_body: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> SchannelResponse:
        """Sends a POST request; see `request`."""
        hidden = Headers(headers)
        del headers
        return self._request("POST", url, hidden, data, json_body, params)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        json_body: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> SchannelResponse:
        """Sends a request. Redirects are returned.

        Args:
            method: the HTTP method.
            url: an absolute https URL.
            headers: ``Authorization`` is required: a scheme and a token that is bound to the certificate, which is checked before
                anything is sent.
            data: the body.
            json_body: a value that is sent as JSON in place of ``data``; ``None`` for none.
            params: added to the query of the URL.

        Raises:
            RuntimeError: if the session or its certificate is closed.
            TypeError: if the name or the value of a header is not text.
            ValueError: if an argument is malformed; nothing was sent.
            keybound.BindingRefused: if the token is bound to another certificate or to none; nothing was sent.
            SchannelTransportError: an ``OSError``: no connection, a timeout, a failure of TLS.

        """
        hidden = Headers(headers)
        del headers
        return self._request(method, url, hidden, data, json_body, params)

    def _request(
        self, method: str, url: str, headers: Headers, data: bytes | None, json_body: Any, params: Mapping[str, str] | None
    ) -> SchannelResponse:
        if self._is_closed:
            raise RuntimeError("SchannelSession has been closed")
        if not self._certificate.has_private_key:
            raise RuntimeError("the certificate of the SchannelSession has been closed, or belongs to the parent process")
        headers.check()
        check_url(url)
        added: list[tuple[str, str]] = []
        body = with_json(None if json_body is not None else data, UNSET if json_body is None else json_body, added)
        headers.add_missing(added)
        try:
            native = self._certificate._send(method, with_params(url, params), headers.pairs, body, self._timeout).wait()
            with Response(native) as response:
                return SchannelResponse(response.status_code, response.read(), response.headers)
        except (keybound.InvalidRequest, keybound.BindingRefused):
            raise
        except keybound.KeyboundError as error:
            raise SchannelTransportError(f"[SchannelSession] {with_causes(error)}", error.code) from error

    def close(self) -> None:
        """Ends the session; the certificate stays open. A second call has no effect."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SchannelSession [{'closed' if self._is_closed else 'open'}]>"
