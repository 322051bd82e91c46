"""The metadata service, v2: `getplatformmetadata` and `issuecredential`."""

import base64
import json
import urllib.parse
import uuid

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

import csr
import pki
from http1 import Answer, Refused

BASE = "/metadata/identity/"
SERVER = {"Server": "IMDS/150.870.65.1854"}
SELECTORS = {"client_id", "object_id", "mi_res_id"}


def respond(world, request):
    leg = {"getplatformmetadata": "metadata", "issuecredential": "credential"}.get(
        request.path.removeprefix(BASE) if request.path.startswith(BASE) else None
    )
    if leg is None:
        return Answer.of_json(404, {"error": "not_found"}, SERVER)
    world.note(leg, request)
    try:
        query = checked_query(leg, request)
        client_id = world.client_id_of(query)
        value, substitutes = (metadata if leg == "metadata" else credential)(
            world, request, client_id
        )
        answer = Answer.of_json(200, value, SERVER)
    except Refused as refusal:
        world.note_refusal(str(refusal))
        return Answer.of_json(refusal.status, refusal.members, SERVER)
    return world.spoil(leg, answer, substitutes)


def checked_query(leg, request):
    """What every call must have; the parameters."""
    if request.headers.get_all("Metadata", []) != ["true"]:
        raise Refused(400, "invalid_request", "Required metadata header not specified")
    if request.headers.get("X-Forwarded-For"):
        raise Refused(400, "invalid_request", "forwarded requests are not taken")
    ids = [request.headers.get(f"x-ms-{name}") for name in ("client-request-id", "correlation-id")]
    try:
        if ids[0] != ids[1] or str(uuid.UUID(ids[0])) != ids[0].lower():
            raise ValueError
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused(400, "invalid_request", "the request ids are not one GUID") from error
    if request.method != {"metadata": "GET", "credential": "POST"}[leg]:
        raise Refused(405, "invalid_request", "another method is meant")
    query = request.query
    if query.pop("cred-api-version", None) != "2.0":
        raise Refused(400, "invalid_request", "cred-api-version is not 2.0")
    if leg == "credential" and query.pop("bypass_cache", "true") != "true":
        raise Refused(400, "invalid_request", "bypass_cache is true or absent")
    if len(query) > 1 or not SELECTORS.issuperset(query):
        raise Refused(400, "invalid_request", "one selector, and nothing else")
    return query


def metadata(world, request, client_id):
    if request.body:
        raise Refused(400, "invalid_request", "a GET with a body")
    value = {
        "clientId": client_id,
        "tenantId": world.tenant_id,
        "cuId": world.cu_id,
        "attestationEndpoint": "https://sharedeus.eus.attest.azure.net",
    }
    if "unknown-members" in world.forms:
        value |= {"later": {"clientId": 1}, "cuId": {**world.cu_id, "x": [None]}}
    return value, {}


def credential(world, request, client_id):
    asked = read_issue_request(request)
    attestation = asked.get("attestation_token")
    if "attestation-required" in world.forms and not attestation:
        raise Refused(400, "invalid_request", "Attestation Token is missing")
    world.keep_secret(attestation)
    signing_request = csr.read(asked["csr"], client_id, world.tenant_id, world.cu_id)
    host = urllib.parse.urlsplit(world.token_origin).netloc
    certificate, answered_client_id = certify(world, signing_request, client_id)
    value = {
        "client_id": answered_client_id,
        "tenant_id": world.tenant_id,
        "certificate": certificate,
        "identity_type": "SystemAssigned",
        "mtls_authentication_endpoint": host if "no-scheme" in world.forms else world.token_origin,
    }
    if "path-on-endpoint" in world.forms:
        value["mtls_authentication_endpoint"] += "/some/path?x=y"
    if "token-endpoint" in world.forms:
        value["token_endpoint"] = world.token_origin + world.token_path
    if "unknown-members" in world.forms:
        value |= {"regional_token_url": "", "later": [1, {"certificate": "x"}]}
    return value, {"attestation_token": attestation or "", "token_host": host}


def read_issue_request(request):
    if request.headers.get("Content-Type") != "application/json; charset=utf-8":
        raise Refused(415, "invalid_request", "Content-Type is not that of JSON")
    try:
        asked = json.loads(request.body)
        members = set(asked)
    except (ValueError, TypeError) as error:
        raise Refused(400, "invalid_request", "the body is not a JSON object") from error
    if members - {"attestation_token"} != {"csr"} or not all(asked.values()):
        raise Refused(400, "invalid_request", "csr, perhaps attestation_token, nothing else")
    return asked


def certify(world, signing_request, client_id):
    """The certificate in base64, in the world's forms and with its faults; the client id that the answer names."""
    fault = world.fault("credential").get("certificate", {})
    other_case = (lambda text: text.swapcase()) if "other-case" in world.forms else (lambda text: text)
    subject = signing_request.subject
    if fault.get("text") is not None:
        return fault["text"], client_id
    if "utf8-names" in world.forms or {"cn", "dc"} & fault.keys() or "other-case" in world.forms:
        names = [
            (NameOID.DOMAIN_COMPONENT, fault.get("dc", other_case(world.tenant_id))),
            (NameOID.COMMON_NAME, fault.get("cn", other_case(client_id))),
        ]
        subject = x509.Name(
            [x509.NameAttribute(oid, value, _ASN1Type.UTF8String) for oid, value in names]
        )
    key = pki.new_rsa_key() if fault.get("key") == "other" else signing_request
    certificate = pki.der(
        world.pki.issuer(world.issuer).sign(
            subject,
            key.public_key(),
            pki.client_certificate_extensions(),
            fault.get("days", (-1, 7)),
        )
    )
    if "tail" in fault:
        certificate += bytes.fromhex(fault["tail"])
    return base64.b64encode(certificate).decode(), fault.get("client_id", client_id)
