from __future__ import annotations

from collections.abc import Iterator, Mapping
from sys import maxsize

from keybound import _native
from keybound._arguments import check
from keybound._errors import KeyboundError
from keybound._not_picklable import NotPicklable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

DEFAULT_LIMIT = 16 * 1024 * 1024
"""In bytes: the limit of a body that is read as a whole, unless the caller sets another."""


class Headers(Mapping[str, str]):
    """The headers of a response. Names are compared without case; values of one name are joined by ``", "``."""

    __slots__ = ("_values", "pairs")
    pairs: list[tuple[str, str]]
    """Name and value of each line, in order."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs
        self._values: dict[str, str] = {}
        for name, value in pairs:
            known = self._values.get(name)
            self._values[name] = value if known is None else f"{known}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        # Values may be secrets: cookies, tokens.
        return f"<Headers {list(self._values)}>"


class ResponseBase(NotPicklable):
    """What the blocking and the async response share: all but the body."""

    __slots__ = ("_headers", "_native")

    def __init__(self, native: _native.RawResponse) -> None:
        self._native = native
        self._headers: Headers | None = None

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self._native.status

    @property
    def headers(self) -> Headers:
        """The headers."""
        if self._headers is None:
            self._headers = Headers(self._native.headers)
        return self._headers

    @property
    def token(self) -> _native.AccessToken | None:
        """The token that the request was sent with; ``None`` if it was sent without one of this package."""
        return self._native.token

    @property
    def tls(self) -> Mapping[str, str | bool]:
        """The connection: ``engine``, ``version``, ``certificate_requested``, ``reused`` and ``retried``."""
        return self._native.connection

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.status_code}]>"


class Response(ResponseBase):
    """The response of a resource. The body is read on demand, within the timeout of the request. After it is read to its end, the
    connection can be reused; closing the response earlier closes the connection.

    A body that was read as a whole is kept: it can be read again, and also after `close`. One that was read in parts is not.
    """

    __slots__ = ()

    def read(self, limit: int = DEFAULT_LIMIT) -> bytes:
        """Reads the body to its end: after `iter_bytes`, what that left.

        Args:
            limit: the maximum length in bytes, of a body that was not read before.

        Raises:
            ValueError: if the limit is negative, the response is closed, or the body was read to its end in parts.
            ServiceRefused: if the body is longer.
            KeyboundError: if the connection breaks or the timeout passes.

        """
        body = self._native.read(checked_limit(limit))
        return body if isinstance(body, bytes) else body.wait()

    def iter_bytes(self) -> Iterator[bytes]:
        """The parts of the body as they arrive. If it was read as a whole, it is one part.

        Raises:
            ValueError: if the response is closed.
            KeyboundError: if the connection breaks or the timeout passes.

        """
        content = self._native.content
        if content:
            yield content
        while True:
            chunk = self._native.next_chunk()
            if isinstance(chunk, _native.Operation):
                chunk = chunk.wait()
            if chunk is None:
                return
            yield chunk

    def text(self, limit: int = DEFAULT_LIMIT) -> str:
        """Reads the body to its end, as UTF-8; a malformed sequence becomes U+FFFD."""
        return self.read(limit).decode("utf-8", "replace")

    def json(self, limit: int = DEFAULT_LIMIT) -> Any:
        """Reads the body to its end, as JSON.

        Raises:
            ServiceRefused: if it is not JSON. The error does not contain it.

        """
        return parse_json(self.read(limit))

    def raise_for_status(self) -> Response:
        """Raises an error if the status is 400 or above; otherwise returns the response.

        Raises:
            ServiceRefused: with the status and the error of the service, redacted. The body can be read afterwards.

        """
        if self.status_code >= 400:
            raise self._native.status_error().wait()
        return self

    def close(self) -> None:
        """Ends the response. A body that was not read to its end closes its connection."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def checked_limit(limit: int) -> int:
    """The limit of a body, which a platform cannot exceed."""
    check("limit", limit, int, "a number of bytes")
    if limit < 0:
        raise ValueError("the limit of a body is a number of bytes that is not negative")
    return min(limit, maxsize)


def parse_json(body: bytes) -> Any:
    """Parses JSON. The error contains the position only: the text may be a secret."""
    from json import loads

    try:
        return loads(body)
    except (ValueError, RecursionError) as error:
        position = getattr(error, "pos", None)
        where = "" if position is None else f" (at {position})"
    raise new_response_error(f"the response is not JSON{where}")


def new_response_error(message: str) -> KeyboundError:
    """The error for a response that cannot be used."""
    from keybound._errors import new_error

    step = "check which service responds at this address"
    fields = {"code": "invalid_response", "stage": "resource", "next_step": step, "may_have_been_sent": True}
    return new_error(message, [], fields)
