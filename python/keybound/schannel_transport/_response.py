from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}(\.[A-Za-z0-9_-]*){1,4}")
# Of the body, in the message of an error.
_MAX_SHOWN = 200


class SchannelHttpError(Exception):
    """The response has a status of 400 or above."""

    def __init__(self, message: str, status_code: int = 0, body: bytes = b"") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.body = body


class SchannelResponse:
    """A response, with the interface of ``requests.Response`` for what it has."""

    def __init__(self, status_code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.status_code = status_code
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self._body = body

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body

    @property
    def text(self) -> str:
        """The body as UTF-8; a malformed sequence becomes U+FFFD."""
        return self._body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: if it is not JSON.

        """
        return json.loads(self._body)

    def raise_for_status(self) -> None:
        """Raises an error if the status is 400 or above.

        Raises:
            SchannelHttpError: with the first 200 characters of the body, without tokens.

        """
        if 400 <= self.status_code < 600:
            shown = _JWT.sub("[token]", self.text)[:_MAX_SHOWN]
            raise SchannelHttpError(f"HTTP {self.status_code}: {shown}", self.status_code, self._body)

    def __repr__(self) -> str:
        return f"<SchannelResponse [{self.status_code}]>"
