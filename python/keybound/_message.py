"""Parts of requests that the blocking and the async client build alike."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Unset:
    """The type of `UNSET`."""

    def __repr__(self) -> str:
        return "..."


UNSET = Unset()
"""No JSON value: ``None`` is one."""


def outgoing_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """The headers as pairs."""
    if headers is None:
        return []
    if isinstance(headers, Mapping):
        items: Any = headers.items()
        return list(items)
    return list(headers)


def with_params(url: str, params: Mapping[str, str] | None) -> str:
    """The URL with parameters added to its query."""
    if not params:
        return url
    from urllib.parse import urlencode

    url, hash_sign, fragment = url.partition("#")
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{urlencode(params)}{hash_sign}{fragment}"


def with_json(content: Any, json: Any, headers: list[tuple[str, str]]) -> Any:
    """The body: the JSON value, if there is one. Adds its content type unless the headers have one."""
    if json is UNSET:
        return content
    if content is not None:
        raise TypeError("content and json exclude each other")
    from json import dumps

    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return dumps(json, separators=(",", ":"), allow_nan=False).encode()
