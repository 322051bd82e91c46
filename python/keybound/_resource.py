from __future__ import annotations

from keybound import _native
from keybound._message import UNSET, outgoing_headers, with_json, with_params
from keybound._not_picklable import NotPicklable
from keybound._response import Response
from keybound._upload import is_in_memory, send_streamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import IO, Any, TypedDict, Union

    from typing_extensions import Unpack

    # The body of a request: in memory, or streamed from an iterable or a file. A streamed body is never sent twice.
    Content = Union[bytes, str, Iterable[bytes], IO[bytes], None]

    class CommonOptions(TypedDict, total=False):
        """Options of a request, but for the body."""

        params: Mapping[str, str] | None
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None
        json: Any
        timeout: float | None

    class RequestOptions(CommonOptions, total=False):
        """Options of a request."""

        content: Content


class ResourceClient(NotPicklable):
    """Sends requests to a resource: acquires, refreshes and attaches tokens, and presents the certificate that each is bound to.

    A 401 with a claims challenge or a failed binding is answered once by a new token. A broken connection is an error and is not
    retried: the request may have been processed. The token is sent to the origin of the request only.
    """

    __slots__ = ("_native", "_timeout")

    def __init__(self, native: _native.Resource, timeout: float) -> None:
        self._native = native
        self._timeout = timeout

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: Content = None,
        json: Any = UNSET,
        timeout: float | None = None,
    ) -> Response:
        """Sends a request and returns the response as soon as its head is received; close it, or read it to its end.

        Args:
            method: the HTTP method.
            url: an absolute https URL.
            params: added to the query of the URL.
            headers: ``Authorization`` among them is replaced.
            content: the body. An iterable or a file is streamed: with ``Content-Length`` if the headers have one, else in chunks.
            json: a value that is sent as JSON, in place of ``content``.
            timeout: in seconds, in place of the client's: it includes reading the body of the response.

        Raises:
            KeyboundError: with the stage of acquiring a token or ``"resource"``. An HTTP status is no error; see
                `Response.raise_for_status`.

        """
        url = with_params(url, params)
        pairs = outgoing_headers(headers)
        content = with_json(content, json, pairs)
        if is_in_memory(content):
            body = content.encode() if isinstance(content, str) else content
            return Response(self._native.send(method, url, pairs, body, timeout).wait())
        return Response(
            send_streamed(
                content,
                pairs,
                lambda upload: self._native.send(method, url, pairs, upload, timeout),
                self._timeout if timeout is None else timeout,
            )
        )

    def get(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """A GET request; the options are those of `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """A HEAD request; the options are those of `request`."""
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """A POST request; the options are those of `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """A PUT request; the options are those of `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """A PATCH request; the options are those of `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """A DELETE request; the options are those of `request`."""
        return self.request("DELETE", url, **options)
