"""What the blocking and the async credentials share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError

from keybound._errors import ImdsV2Unavailable, KeyboundError, Unreachable

if TYPE_CHECKING:
    from keybound import AccessToken


class CredentialBase:
    """The `repr` of credentials."""

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


def token_info(token: AccessToken, secret: str) -> AccessTokenInfo:
    """The token, or its placeholder, in the type of the SDK, which writes it after ``Bearer``."""
    return AccessTokenInfo(secret, token.expires_on, token_type="Bearer", refresh_on=token.refresh_on)  # noqa: S106


def credential_error(error: KeyboundError) -> ClientAuthenticationError:
    """The error of a credential. It is one after which a chain of credentials goes on, if this host has no IMDS v2."""
    message = f"{error}; {error.next_step}"
    if isinstance(error, (ImdsV2Unavailable, Unreachable)):
        try:
            from azure.identity import CredentialUnavailableError
        except ImportError:
            pass
        else:
            return CredentialUnavailableError(message)
    return ClientAuthenticationError(message, error=error)
