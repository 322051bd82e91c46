"""An API that accepts a token only with the certificate that it is bound to (RFC 8705 section 3)."""

import hmac
import ssl

import tokens
from http1 import Response, Rejected

CHALLENGE = {"WWW-Authenticate": 'mtls_pop realm="foreign"'}


def respond(services, request, connection):
    services.log_request("resource", request)
    try:
        claims = authenticate(services, request, connection)
        value = {
            "client": claims["appid"].lower(),
            "method": request.method,
            "length": len(request.body),
            "tls": connection.sock.version(),
        }
        return Response.of_json(200, value)
    except Rejected as rejection:
        services.log_rejection(str(rejection))
        return Response.of_json(rejection.status, rejection.members, CHALLENGE)


def authenticate(services, request, connection):
    if "vault" in services.forms and request.headers.get("x-ms-tokenboundauth") != "true":
        raise Rejected(401, "Unauthorized", "Client certificate required for using MTLS_POP token")
    if "post-handshake" in services.forms:
        request_certificate_after_request(connection)
    certificate = connection.peer_certificate()
    if certificate is None:
        raise Rejected(401, "invalid_token", "no certificate on the connection")
    try:
        claims = services.signer.verify(bearer_of(request))
        bound_to = claims["cnf"]["x5t#S256"]
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(401, "invalid_token", "no bound token") from error
    if not hmac.compare_digest(bound_to, tokens.x5t_s256(certificate)):
        raise Rejected(401, "invalid_token", "the token is bound to another certificate")
    if claims["aud"] != services.audience:
        raise Rejected(401, "invalid_token", "the token is for another resource")
    return claims


def request_certificate_after_request(connection):
    try:
        connection.request_certificate()
    except ssl.SSLError as error:
        raise Rejected(401, "invalid_token", "no certificate from the client after the handshake") from error


def bearer_of(request):
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "mtls_pop" else ""
