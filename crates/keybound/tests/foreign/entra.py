"""The token endpoint: client credentials over mutual TLS."""

import time
import uuid

from cryptography import x509
from cryptography.x509.oid import NameOID

import tokens
from http1 import Response, Rejected, strict_pairs

FORM = {"client_id", "grant_type", "scope"}
LIFETIME = 86399


def respond(services, request, connection):
    services.log_request("token", request)
    try:
        value = issue(services, request, connection)
    except Rejected as rejection:
        services.log_rejection(str(rejection))
        return Response.of_json(rejection.status, rejection.members)
    return Response.of_json(200, value)


def issue(services, request, connection):
    if request.method != "POST" or request.path != services.token_path or request.query:
        raise Rejected(404, "invalid_request", "no such endpoint")
    identity = presented_identity(services, connection)
    form = checked_form(request)
    if identity != (form["client_id"].lower(), services.tenant_id.lower()):
        raise Rejected(401, "invalid_client", "AADSTS700016: another client", error_codes=[700016])
    bound = form.get("token_type") == "mtls_pop"
    claims = claims_of(services, form, connection.peer_certificate() if bound else None)
    token = services.record_secret(services.signer.sign(claims))
    value = {
        "token_type": "mtls_pop" if bound else "Bearer",
        "expires_in": str(LIFETIME) if "quoted-numbers" in services.forms else LIFETIME,
        "ext_expires_in": LIFETIME,
        "access_token": token,
    }
    if "other-case" in services.forms:
        value["token_type"] = value["token_type"].swapcase()
    if "refresh-in" in services.forms:
        value["refresh_in"] = str(LIFETIME // 2) if "quoted-numbers" in services.forms else LIFETIME // 2
    if "unknown-members" in services.forms:
        value |= {"client_info": None, "later": {"token_type": "Bearer"}}
    return value


def presented_identity(services, connection):
    """Client and tenant of the certificate on the connection (verified in the handshake), in lower case."""
    der = connection.peer_certificate()
    if der is None:
        message = "AADSTS392200: Client certificate is missing from the request."
        raise Rejected(401, "invalid_client", message, error_codes=[392200])
    certificate = x509.load_der_x509_certificate(der)
    if not services.pki.is_issuer(certificate.issuer):
        raise Rejected(401, "invalid_client", "AADSTS1000610: another issuer", error_codes=[1000610])
    names = [
        [name.value.lower() for name in certificate.subject.get_attributes_for_oid(oid)]
        for oid in (NameOID.COMMON_NAME, NameOID.DOMAIN_COMPONENT)
    ]
    if [len(values) for values in names] != [1, 1]:
        raise Rejected(401, "invalid_client", "AADSTS1000611: its names", error_codes=[1000611])
    return names[0][0], names[1][0]


def checked_form(request):
    if request.headers.get("Content-Type") != "application/x-www-form-urlencoded":
        raise Rejected(400, "invalid_request", "Content-Type is not application/x-www-form-urlencoded")
    if request.headers.get("Accept") != "application/json":
        raise Rejected(400, "invalid_request", "Accept is not application/json")
    try:
        uuid.UUID(request.headers.get("x-ms-client-request-id", ""))
    except ValueError as error:
        raise Rejected(400, "invalid_request", "the request id is not a GUID") from error
    form = strict_pairs(request.body.decode("ascii"))
    if not FORM <= form.keys() or form.keys() - FORM - {"token_type", "claims"}:
        raise Rejected(400, "invalid_request", "AADSTS90014: the members of the form")
    if form["grant_type"] != "client_credentials" or form.get("token_type", "bearer") not in ("mtls_pop", "bearer"):
        raise Rejected(400, "unsupported_grant_type", "AADSTS70003")
    resource = form["scope"].removesuffix("/.default")
    if resource == form["scope"] or resource.endswith("/") or resource.endswith(".default"):
        raise Rejected(400, "invalid_scope", "AADSTS70011: not exactly one /.default")
    return form


def claims_of(services, form, certificate):
    now = int(time.time())
    client_id = form["client_id"]
    claims = {
        "aud": form["scope"].removesuffix("/.default"),
        "iss": f"https://sts.windows.net/{services.tenant_id}/",
        "iat": now,
        "nbf": now - 5,
        "exp": now + LIFETIME,
        "appid": client_id.swapcase() if "other-case" in services.forms else client_id,
        "tid": services.tenant_id,
        "uti": uuid.uuid4().hex,
    }
    if certificate is not None:
        claims["cnf"] = {"x5t#S256": tokens.x5t_s256(certificate)}
    return claims
