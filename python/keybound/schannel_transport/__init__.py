"""The interface of ``msal-schannel-transport``: requests with a bound token, over connections that present its certificate.

    from keybound.schannel_transport import SchannelSession

    with SchannelSession(client_certificate=result["binding_certificate"]) as session:
        authorization = f"{result['token_type']} {result['access_token']}"
        response = session.get(url, headers={"Authorization": authorization})

It works on every platform: with SChannel on Windows, with OpenSSL elsewhere. New programs use `keybound.ResourceClient`, or the
adapter for their HTTP library.
"""

from keybound.schannel_transport.session import (
    SchannelHttpError,
    SchannelResponse,
    SchannelSession,
    SchannelTransportError,
)

__all__ = ["SchannelHttpError", "SchannelResponse", "SchannelSession", "SchannelTransportError"]
