"""An API that takes tokens only with the certificate that they are bound to (RFC 8705 section 3)."""

import hmac
import ssl

import tokens
from http1 import Answer, Refused

CHALLENGE = {"WWW-Authenticate": 'mtls_pop realm="foreign"'}


def respond(world, request, connection):
    world.note("resource", request)
    try:
        claims = authenticate(world, request, connection)
        value = {
            "client": claims["appid"].lower(),
            "method": request.method,
            "length": len(request.body),
            "tls": connection.sock.version(),
        }
        answer = Answer.of_json(200, value)
    except Refused as refusal:
        world.note_refusal(str(refusal))
        return world.spoil(
            "resource", Answer.of_json(refusal.status, refusal.members, CHALLENGE), {}
        )
    return world.spoil("resource", answer, {"access_token": bearer_of(request)})


def authenticate(world, request, connection):
    if "vault" in world.forms and request.headers.get("x-ms-tokenboundauth") != "true":
        raise Refused(401, "Unauthorized", "Client certificate required for using MTLS_POP token")
    if "post-handshake" in world.forms:
        ask_after_the_request(connection)
    certificate = connection.peer_certificate()
    if certificate is None:
        raise Refused(401, "invalid_token", "no certificate on the connection")
    try:
        claims = world.signer.verify(bearer_of(request))
        bound_to = claims["cnf"]["x5t#S256"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(401, "invalid_token", "no bound token") from error
    if not hmac.compare_digest(bound_to, tokens.x5t_s256(certificate)):
        raise Refused(401, "invalid_token", "the token is bound to another certificate")
    if claims["aud"] != world.audience:
        raise Refused(401, "invalid_token", "the token is for another resource")
    return claims


def ask_after_the_request(connection):
    try:
        connection.ask_for_certificate()
    except ssl.SSLError as error:
        raise Refused(401, "invalid_token", "the client offers no certificate later") from error


def bearer_of(request):
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "mtls_pop" else ""
