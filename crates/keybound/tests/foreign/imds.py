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
from http1 import Response, Rejected

BASE = "/metadata/identity/"
SERVER = {"Server": "IMDS/150.870.65.1854"}
SELECTORS = {"client_id", "object_id", "mi_res_id"}


def respond(services, request):
    leg = {"getplatformmetadata": "metadata", "issuecredential": "credential"}.get(
        request.path.removeprefix(BASE) if request.path.startswith(BASE) else None
    )
    if leg is None:
        return Response.of_json(404, {"error": "not_found"}, SERVER)
    services.log_request(leg, request)
    try:
        query = checked_query(leg, request)
        client_id = services.client_id_of(query)
        value = (metadata if leg == "metadata" else credential)(services, request, client_id)
        return Response.of_json(200, value, SERVER)
    except Rejected as rejection:
        services.log_rejection(str(rejection))
        return Response.of_json(rejection.status, rejection.members, SERVER)


def checked_query(leg, request):
    """Checks the headers, and returns the parameters without the version."""
    if request.headers.get_all("Metadata", []) != ["true"]:
        raise Rejected(400, "invalid_request", "Required metadata header not specified")
    if request.headers.get("X-Forwarded-For"):
        raise Rejected(400, "invalid_request", "forwarded requests are rejected")
    ids = [request.headers.get(f"x-ms-{name}") for name in ("client-request-id", "correlation-id")]
    try:
        if ids[0] != ids[1] or str(uuid.UUID(ids[0])) != ids[0].lower():
            raise ValueError
    except (AttributeError, TypeError, ValueError) as error:
        raise Rejected(400, "invalid_request", "the request ids are not one GUID") from error
    if request.method != {"metadata": "GET", "credential": "POST"}[leg]:
        raise Rejected(405, "invalid_request", "wrong method")
    query = request.query
    if query.pop("cred-api-version", None) != "2.0":
        raise Rejected(400, "invalid_request", "cred-api-version is not 2.0")
    if leg == "credential" and query.pop("bypass_cache", "true") != "true":
        raise Rejected(400, "invalid_request", "bypass_cache is true or absent")
    if len(query) > 1 or not SELECTORS.issuperset(query):
        raise Rejected(400, "invalid_request", "more than one selector, or an unknown parameter")
    return query


def metadata(services, request, client_id):
    if request.body:
        raise Rejected(400, "invalid_request", "a GET with a body")
    value = {
        "clientId": client_id,
        "tenantId": services.tenant_id,
        "cuId": services.cu_id,
        "attestationEndpoint": "https://sharedeus.eus.attest.azure.net",
    }
    if "unknown-members" in services.forms:
        value |= {"later": {"clientId": 1}, "cuId": {**services.cu_id, "x": [None]}}
    return value


def credential(services, request, client_id):
    members = parse_issue_request(request)
    attestation = members.get("attestation_token")
    if "attestation-required" in services.forms and not attestation:
        raise Rejected(400, "invalid_request", "Attestation Token is missing")
    services.record_secret(attestation)
    signing_request = csr.read(members["csr"], client_id, services.tenant_id, services.cu_id)
    host = urllib.parse.urlsplit(services.token_origin).netloc
    value = {
        "client_id": client_id,
        "tenant_id": services.tenant_id,
        "certificate": certify(services, signing_request, client_id),
        "identity_type": "SystemAssigned",
        "mtls_authentication_endpoint": host if "no-scheme" in services.forms else services.token_origin,
    }
    if "path-on-endpoint" in services.forms:
        value["mtls_authentication_endpoint"] += "/some/path?x=y"
    if "token-endpoint" in services.forms:
        value["token_endpoint"] = services.token_origin + services.token_path
    if "unknown-members" in services.forms:
        value |= {"regional_token_url": "", "later": [1, {"certificate": "x"}]}
    return value


def parse_issue_request(request):
    if request.headers.get("Content-Type") != "application/json; charset=utf-8":
        raise Rejected(415, "invalid_request", "Content-Type is not application/json; charset=utf-8")
    try:
        members = json.loads(request.body)
        names = set(members)
    except (ValueError, TypeError) as error:
        raise Rejected(400, "invalid_request", "the body is not a JSON object") from error
    if names - {"attestation_token"} != {"csr"} or not all(members.values()):
        raise Rejected(400, "invalid_request", "members other than csr and attestation_token")
    return members


def certify(services, signing_request, client_id):
    """The certificate in base64, with the forms of the service set."""
    other_case = (lambda text: text.swapcase()) if "other-case" in services.forms else (lambda text: text)
    subject = signing_request.subject
    if {"utf8-names", "other-case"} & services.forms:
        names = [
            (NameOID.DOMAIN_COMPONENT, other_case(services.tenant_id)),
            (NameOID.COMMON_NAME, other_case(client_id)),
        ]
        subject = x509.Name(
            [x509.NameAttribute(oid, value, _ASN1Type.UTF8String) for oid, value in names]
        )
    certificate = services.pki.issuer(services.issuer).sign(
        subject, signing_request.public_key(), pki.client_certificate_extensions()
    )
    return base64.b64encode(pki.der(certificate)).decode()
