"""What the blocking and the async credentials share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError

from keybound._errors import DeadlineReached, ImdsV2Unavailable, KeyboundError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound import AccessToken, _native
    from keybound._settings import ClientBase

PROBE_TIMEOUT = 5.0
"""In seconds. For seconds after boot, IMDS refuses connections: there is time for two retries."""


class CredentialBase:
    """What the credentials share: the first contact with IMDS, and `repr`."""

    def __init__(self, client: ClientBase, probe_timeout: float) -> None:
        self._client_of_probe = client
        self._probe_timeout = probe_timeout

    def _new_probe(self) -> _native.Operation[bool] | None:
        """A request to IMDS; ``None`` if it has answered this client before."""
        client = self._client_of_probe
        return None if client._imds_answered else client._native.supports_imds_v2(self._probe_timeout)

    @contextmanager
    def _probing(self) -> Iterator[None]:
        """Notes that IMDS answered, whatever it answered: the request for a token has that error too."""
        try:
            yield
        except (DeadlineReached, Unreachable):
            raise
        except KeyboundError:
            pass
        self._client_of_probe._imds_answered = True

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__.lstrip('_')}>"


def single_scope(scopes: tuple[str, ...]) -> str:
    """The scope.

    Raises:
        ValueError: if there is not exactly one.

    """
    if len(scopes) != 1:
        raise ValueError("a token of a managed identity is for exactly one scope")
    return scopes[0]


def token_info(token: AccessToken, placeholder: str | None = None) -> AccessTokenInfo:
    """The token, or its placeholder, in the type of the SDK, which writes it after ``Bearer``."""
    return AccessTokenInfo(
        # Not a local variable, which tracebacks show.
        token.token if placeholder is None else placeholder,
        token.expires_on,
        token_type="Bearer",  # noqa: S106
        refresh_on=token.refresh_on,
    )


def credential_error(error: KeyboundError) -> ClientAuthenticationError:
    """The error of a credential. It is one after which a chain of credentials goes on, if this host has no IMDS v2 or IMDS does not
    respond.
    """
    message = f"{error}: {error.next_step}"
    is_silent = isinstance(error, DeadlineReached) and error.stage == "metadata"
    if is_silent or isinstance(error, (ImdsV2Unavailable, Unreachable)):
        try:
            from azure.identity import CredentialUnavailableError
        except ImportError:
            pass
        else:
            return CredentialUnavailableError(message)
    return ClientAuthenticationError(message, error=error)
