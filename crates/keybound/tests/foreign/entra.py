"""The token endpoint: client credentials over mutual TLS."""

import time
import uuid

from cryptography import x509
from cryptography.x509.oid import NameOID

import tokens
from http1 import Answer, Refused, strict_pairs

FORM = {"client_id", "grant_type", "scope"}
LIFETIME = 86399


def respond(world, request, connection):
    world.note("token", request)
    try:
        value = issue(world, request, connection)
    except Refused as refusal:
        world.note_refusal(str(refusal))
        return Answer.of_json(refusal.status, refusal.members)
    return world.spoil("token", Answer.of_json(200, value), {"access_token": value["access_token"]})


def issue(world, request, connection):
    if request.method != "POST" or request.path != world.token_path or request.query:
        raise Refused(404, "invalid_request", "no such endpoint")
    identity = presented(world, connection)
    form = checked_form(request)
    if identity != (form["client_id"].lower(), world.tenant_id.lower()):
        raise Refused(401, "invalid_client", "AADSTS700016: another client", error_codes=[700016])
    bound = form.get("token_type") == "mtls_pop"
    claims = claims_of(world, form, connection.peer_certificate() if bound else None)
    for name, changed in world.fault("token").get("claims", {}).items():
        claims[name] = changed
        if changed is None:
            del claims[name]
    token = world.keep_secret(world.signer.sign(claims))
    value = {
        "token_type": "mtls_pop" if bound else "Bearer",
        "expires_in": str(LIFETIME) if "quoted-numbers" in world.forms else LIFETIME,
        "ext_expires_in": LIFETIME,
        "access_token": token,
    }
    if "other-case" in world.forms:
        value["token_type"] = value["token_type"].swapcase()
    if "refresh-in" in world.forms:
        value["refresh_in"] = str(LIFETIME // 2) if "quoted-numbers" in world.forms else LIFETIME // 2
    if "unknown-members" in world.forms:
        value |= {"client_info": None, "later": {"token_type": "Bearer"}}
    return value


def presented(world, connection):
    """Client and tenant of the certificate on the connection (the TLS layer has verified it), in lower case."""
    der = connection.peer_certificate()
    if der is None:
        words = "AADSTS392200: Client certificate is missing from the request."
        raise Refused(401, "invalid_client", words, error_codes=[392200])
    certificate = x509.load_der_x509_certificate(der)
    if not world.pki.is_issuer(certificate.issuer):
        raise Refused(401, "invalid_client", "AADSTS1000610: another issuer", error_codes=[1000610])
    names = [
        [name.value.lower() for name in certificate.subject.get_attributes_for_oid(oid)]
        for oid in (NameOID.COMMON_NAME, NameOID.DOMAIN_COMPONENT)
    ]
    if [len(values) for values in names] != [1, 1]:
        raise Refused(401, "invalid_client", "AADSTS1000611: its names", error_codes=[1000611])
    return names[0][0], names[1][0]


def checked_form(request):
    if request.headers.get("Content-Type") != "application/x-www-form-urlencoded":
        raise Refused(400, "invalid_request", "Content-Type is not that of a form")
    if request.headers.get("Accept") != "application/json":
        raise Refused(400, "invalid_request", "Accept is not application/json")
    try:
        uuid.UUID(request.headers.get("x-ms-client-request-id", ""))
    except ValueError as error:
        raise Refused(400, "invalid_request", "the request id is not a GUID") from error
    form = strict_pairs(request.body.decode("ascii"))
    if not FORM <= form.keys() or form.keys() - FORM - {"token_type", "claims"}:
        raise Refused(400, "invalid_request", "AADSTS90014: the members of the form")
    if form["grant_type"] != "client_credentials" or form.get("token_type", "bearer") not in ("mtls_pop", "bearer"):
        raise Refused(400, "unsupported_grant_type", "AADSTS70003")
    resource = form["scope"].removesuffix("/.default")
    if resource == form["scope"] or resource.endswith("/") or resource.endswith(".default"):
        raise Refused(400, "invalid_scope", "AADSTS70011: not one /.default")
    return form


def claims_of(world, form, certificate):
    now = int(time.time())
    client_id = form["client_id"]
    claims = {
        "aud": form["scope"].removesuffix("/.default"),
        "iss": f"https://sts.windows.net/{world.tenant_id}/",
        "iat": now,
        "nbf": now - 5,
        "exp": now + LIFETIME,
        "appid": client_id.swapcase() if "other-case" in world.forms else client_id,
        "tid": world.tenant_id,
        "uti": uuid.uuid4().hex,
    }
    if certificate is not None:
        claims["cnf"] = {"x5t#S256": tokens.x5t_s256(certificate)}
    return claims
