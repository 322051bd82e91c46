"""Validates a certificate signing request as strictly as the metadata service does."""

import base64
import binascii
import json

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier

from http1 import Rejected

CU_ID = ObjectIdentifier("1.3.6.1.4.1.311.90.2.10")
# RSASSA-PSS with SHA-256, MGF1-SHA-256, salt 32, no parameters in the hash identifiers.
PSS = bytes.fromhex(
    "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108"
    "300b0609608648016503040201a203020120"
)
UTF8_STRING = 0x0C


def read(text, client_id, tenant_id, cu_id):
    """The request, if it is for exactly this identity on this machine."""
    try:
        request = x509.load_der_x509_csr(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise rejected("it is malformed") from error
    names = [(name.oid, name.value, name._type) for name in request.subject]
    expected = [
        (NameOID.DOMAIN_COMPONENT, tenant_id, _ASN1Type.IA5String),
        (NameOID.COMMON_NAME, client_id, _ASN1Type.PrintableString),
    ]
    if names != expected or any(len(rdn) != 1 for rdn in request.subject.rdns):
        raise rejected("its subject is not DC, CN")
    check_key_and_signature(request)
    check_attribute(request, cu_id)
    return request


def check_key_and_signature(request):
    key = request.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != 2048:
        raise rejected("its key is not RSA-2048")
    whole = request.public_bytes(serialization.Encoding.DER)
    # SEQUENCE { tbs, algorithm, BIT STRING of 256 bytes }.
    tail = PSS + bytes.fromhex("0382010100") + request.signature
    if whole[4:] != request.tbs_certrequest_bytes + tail:
        raise rejected("its signature algorithm is encoded differently")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    try:
        key.verify(request.signature, request.tbs_certrequest_bytes, pss, hashes.SHA256())
    except InvalidSignature as error:
        raise rejected("its signature is invalid") from error


def check_attribute(request, cu_id):
    present = {name: value for name, value in cu_id.items() if value}
    value = json.dumps(present, separators=(",", ":")).encode()
    attributes = list(request.attributes)
    if [attribute.oid for attribute in attributes] != [CU_ID]:
        raise rejected("its attribute is not the cuId")
    if attributes[0]._type != UTF8_STRING or attributes[0].value != value:
        raise rejected("its cuId is not that of this machine as UTF8String")


def rejected(reason):
    return Rejected(400, "invalid_request", f"CSR rejected: {reason}")
