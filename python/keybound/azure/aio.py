"""Bound tokens for asynchronous clients of the Azure SDK; see `keybound.azure`. Cancellation ends the request that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import HttpRequest

from keybound._adapter import header_pairs, is_connection_failure
from keybound._arguments import check
from keybound._calls import BoundCalls
from keybound._errors import KeyboundError, with_causes
from keybound._identity import KeyStrength
from keybound.aio._client import ManagedIdentityClient
from keybound.azure._response import AsyncResponse
from keybound.azure._tokens import PROBE_TIMEOUT, CredentialBase, credential_error, single_scope, token_info

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.credentials import TokenRequestOptions
    from azure.core.rest import AsyncHttpResponse
    from typing_extensions import Self


__all__ = ["BearerCredential", "BoundCredential", "credential", "transport"]


def credential(calls: BoundCalls, *, probe_timeout: float = PROBE_TIMEOUT) -> BoundCredential:
    """As `keybound.azure.credential`, for asynchronous clients."""
    return BoundCredential(calls, probe_timeout=probe_timeout)


def transport(calls: BoundCalls) -> AsyncHttpTransport[HttpRequest, AsyncHttpResponse]:
    """As `keybound.azure.transport`, for asynchronous clients. Their requests are those of `azure.core.rest`."""
    return _BoundTransport(calls)


class _Credential(CredentialBase):
    async def _probe(self) -> None:
        probe = self._new_probe()
        if probe is not None:
            with self._probing():
                await probe


class BearerCredential(_Credential):
    """As `keybound.azure.BearerCredential`, for asynchronous clients."""

    def __init__(
        self,
        client: ManagedIdentityClient,
        *,
        attested: bool = True,
        min_strength: KeyStrength = KeyStrength.KEYGUARD,
        timeout: float = 60.0,
        probe_timeout: float = PROBE_TIMEOUT,
    ) -> None:
        """Creates the credential; nothing is requested yet.

        Args:
            client: acquires the tokens.
            attested: whether the key must be attested.
            min_strength: the minimum strength of the key.
            timeout: of acquiring a token, in seconds.
            probe_timeout: of the first request to IMDS, in seconds: the credential is unavailable if there is no response.

        """
        check("client", client, ManagedIdentityClient, "a keybound.aio.ManagedIdentityClient")
        super().__init__(client, min(timeout, probe_timeout))
        self._client = client
        self._attested = attested
        self._min_strength = min_strength
        self._timeout = timeout

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """As `keybound.azure.BearerCredential.get_token_info`."""
        scope, claims = single_scope(scopes), (options or {}).get("claims")
        try:
            await self._probe()
            token = await self._client.acquire_token(
                scope,
                attested=self._attested,
                min_strength=self._min_strength,
                bearer_over_mtls=True,
                claims=claims,
                timeout=self._timeout,
            )
        except KeyboundError as error:
            raise credential_error(error) from error
        return token_info(token)

    async def get_token(self, *scopes: str, claims: str | None = None, **_options: Any) -> AccessToken:
        """As `get_token_info`, for clients that call this method."""
        info = await self.get_token_info(*scopes, options={"claims": claims} if claims else None)
        return AccessToken(info.token, info.expires_on)

    async def close(self) -> None:
        """Does nothing: the client remains usable."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


class BoundCredential(_Credential):
    """As `keybound.azure.BoundCredential`, for asynchronous clients."""

    def __init__(self, calls: BoundCalls, *, probe_timeout: float = PROBE_TIMEOUT) -> None:
        """Creates the credential; nothing is requested yet.

        Args:
            calls: acquire the tokens.
            probe_timeout: as in `BearerCredential`.

        """
        check("calls", calls, BoundCalls, "a keybound.BoundCalls")
        super().__init__(calls._client, min(calls._timeout, probe_timeout))
        self._calls = calls

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:  # noqa: ARG002
        """As `keybound.azure.BoundCredential.get_token_info`."""
        scope = single_scope(scopes)
        try:
            await self._probe()
            token = await self._calls.acquire_token_async(scope)
        except KeyboundError as error:
            raise credential_error(error) from error
        return token_info(token, self._calls.placeholder(scope))

    async def get_token(self, *scopes: str, claims: str | None = None, **_options: Any) -> AccessToken:  # noqa: ARG002
        """As `get_token_info`, for clients that call this method."""
        info = await self.get_token_info(*scopes)
        return AccessToken(info.token, info.expires_on)

    async def close(self) -> None:
        """Does nothing: the calls remain usable."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


class _BoundTransport(AsyncHttpTransport[HttpRequest, "AsyncHttpResponse"]):
    def __init__(self, calls: BoundCalls) -> None:
        self._calls = calls

    async def send(self, request: HttpRequest, *, stream: bool = False, **kwargs: Any) -> AsyncHttpResponse:
        if not isinstance(request, HttpRequest):
            raise TypeError(f"this transport takes requests of azure.core.rest, not {type(request).__module__}")
        if kwargs.get("connection_verify") is False or kwargs.get("connection_cert"):
            raise ValueError("connection_verify, connection_cert: trust and certificate are those of the client")
        headers, body = _encoded(request)
        limits = [kwargs[name] for name in ("connection_timeout", "read_timeout") if kwargs.get(name) is not None]
        try:
            sent = await self._calls.send_async(
                request.method, request.url, headers=headers, content=body, timeout=max(limits, default=None)
            )
        except KeyboundError as error:
            if not is_connection_failure(error):
                raise ClientAuthenticationError(with_causes(error), error=error) from error
            # The SDK repeats any method after the first kind, only idempotent ones after the second.
            kind = ServiceResponseError if error.may_have_been_sent else ServiceRequestError
            raise kind(with_causes(error), error=error) from error
        response = AsyncResponse(request, sent)
        if not stream:
            await response.read()
        return response

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        pass


def _encoded(request: HttpRequest) -> tuple[list[tuple[str, str]], Any]:
    """The headers and the body of a request. Forms are encoded as by the SDK's own transports."""
    data, files = getattr(request, "data", None), getattr(request, "files", None)
    if not files and not isinstance(data, (dict, list, tuple)):
        return header_pairs(request.headers.items()), data
    import requests

    form = requests.Request(request.method, request.url, dict(request.headers), data=data, files=files).prepare()
    return header_pairs(form.headers.items()), form.body
