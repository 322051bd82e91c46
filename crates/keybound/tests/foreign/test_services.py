"""The services against a client in Python: they accept valid requests, and reject what the real services reject."""

import base64
import contextlib
import http.client
import json
import pathlib
import ssl
import tempfile
import unittest
import urllib.parse
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

import csr
from pki import Pki, new_ec_key, new_rsa_key
from service_set import FORMS, ServiceSet

ASN1 = {"sequence": 0x30, "set": 0x31, "bits": 0x03, "oid": 0x06, "utf8": 0x0C, "printable": 0x13, "ia5": 0x16}


class Client:
    """A client that follows the protocol, and deviates where a test requires it."""

    def __init__(self, services, folder, key):
        self.services = services
        self.key = key
        self.pem = pathlib.Path(folder) / f"{uuid.uuid4()}.pem"

    def imds(self, name, body=None, headers=None, query="cred-api-version=2.0"):
        request_id = str(uuid.uuid4())
        all_headers = {
            "Metadata": "true",
            "x-ms-client-request-id": request_id,
            "x-ms-correlation-id": request_id,
            **({"Content-Type": "application/json; charset=utf-8"} if body else {}),
            **(headers or {}),
        }
        sent = {name: value for name, value in all_headers.items() if value is not None}
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.services.imds_origin).netloc)
        method = "POST" if body else "GET"
        return exchange(connection, method, f"/metadata/identity/{name}?{query}", sent, body)

    def issue(self, **changes):
        _, metadata = self.imds("getplatformmetadata")
        body = json.dumps({"csr": signing_request(self.key, metadata, **changes)})
        status, response = self.imds("issuecredential", body)
        if status == 200:
            self.save(response["certificate"])
        return status, response

    def save(self, certificate):
        certificate = x509.load_der_x509_certificate(base64.b64decode(certificate))
        private = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))

    def https(self, origin, method, target, headers, body=None, certificate=True):
        context = ssl.create_default_context(cafile=self.services.pki.ca_file)
        context.post_handshake_auth = True
        if certificate:
            context.load_cert_chain(self.pem)
        netloc = urllib.parse.urlsplit(origin).netloc
        connection = http.client.HTTPSConnection(netloc, context=context)
        return exchange(connection, method, target, headers, body)

    def token(self, certificate=True, **changes):
        form = {
            "client_id": self.services.client_id,
            "grant_type": "client_credentials",
            "scope": f"{self.services.audience}/.default",
            "token_type": "mtls_pop",
            **changes,
        }
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "x-ms-client-request-id": str(uuid.uuid4()),
        }
        body = urllib.parse.urlencode({k: v for k, v in form.items() if v is not None})
        origin, path = self.services.token_origin, self.services.token_path
        return self.https(origin, "POST", path, headers, body, certificate)

    def call(self, token, certificate=True, **headers):
        headers = {"Authorization": f"mtls_pop {token}", "x-ms-tokenboundauth": "true", **headers}
        return self.https(self.services.resource_origin, "GET", "/x", headers, None, certificate)


def exchange(connection, method, target, headers, body):
    with contextlib.closing(connection):
        connection.request(method, target, headers=headers, **({"body": body} if body else {}))
        response = connection.getresponse()
        text = response.read()
    return response.status, json.loads(text)


def signing_request(key, metadata, order=("dc", "cn"), pss=csr.PSS, cu_id=None, signer=None):
    """A signing request assembled by hand: Debian's versions of `cryptography` cannot sign one with PSS."""
    parts = {
        "dc": tlv("set", tlv("sequence", oid("0.9.2342.19200300.100.1.25") + tlv("ia5", metadata["tenantId"]))),
        "cn": tlv("set", tlv("sequence", oid("2.5.4.3") + tlv("printable", metadata["clientId"]))),
    }
    present = {k: v for k, v in metadata["cuId"].items() if v and k in ("vmId", "vmssId")}
    text = cu_id or json.dumps(present, separators=(",", ":"))
    attribute = tlv("sequence", oid("1.3.6.1.4.1.311.90.2.10") + tlv("set", tlv("utf8", text)))
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    subject = tlv("sequence", b"".join(parts[name] for name in order))
    info = tlv("sequence", b"\x02\x01\x00" + subject + spki + tlv(0xA0, attribute))
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signature = (signer or key).sign(info, scheme, hashes.SHA256())
    return base64.b64encode(tlv("sequence", info + pss + tlv("bits", b"\x00" + signature))).decode()


def tlv(tag, content):
    content = content.encode() if isinstance(content, str) else content
    length = len(content)
    size = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return bytes([ASN1.get(tag, tag)]) + size + content


def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = [first * 40 + second]
    for number in rest:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        out += reversed(digits)
    return tlv("oid", bytes(out))


class ServicesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.pki = Pki(cls.folder)
        cls.key = new_rsa_key()
        cls.other_key = new_rsa_key()

    def client(self, *forms, key=None, **settings):
        services = ServiceSet(self.pki, forms, **settings)
        self.addCleanup(services.close)
        return Client(services, self.folder, key or self.key)

    def assert_whole_flow(self, client):
        self.assertEqual(client.issue()[0], 200)
        status, response = client.token()
        self.assertEqual(status, 200, response)
        status, called = client.call(response["access_token"])
        self.assertEqual((status, called.get("client")), (200, client.services.client_id), called)

    def test_accepts_valid_requests_in_every_form(self):
        # This client has no attestation, does not preserve the case of GUIDs, and does not support 103.
        for form in FORMS.keys() - {"attestation-required", "other-case", "interim-response"}:
            with self.subTest(form):
                self.assert_whole_flow(self.client(form))
        for settings in ({"tls": "1.2"}, {"host": "127.0.0.1"}, {"issuer": "rsa"}):
            with self.subTest(settings):
                self.assert_whole_flow(self.client(**settings))

    def test_rejects_metadata_requests_without_headers_or_parameters(self):
        client = self.client()
        other = str(uuid.uuid4())
        for headers in (
            {"Metadata": None},
            {"Metadata": "false"},
            {"x-ms-client-request-id": None},
            {"x-ms-client-request-id": "1"},
            {"x-ms-correlation-id": other},
            {"X-Forwarded-For": "10.0.0.1"},
        ):
            self.assertEqual(client.imds("getplatformmetadata", headers=headers)[0], 400, headers)
        for query in (
            "",
            "cred-api-version=1.0",
            "cred-api-version=2.0&msi_res_id=x",
            "cred-api-version=2.0&client_id=a&object_id=b",
            "cred-api-version=2.0&client_id=a&client_id=b",
        ):
            self.assertEqual(client.imds("getplatformmetadata", query=query)[0], 400, query)

    def test_rejects_other_forms_of_signing_requests(self):
        with_null = csr.PSS.replace(bytes.fromhex("300b0609608648016503040201"), bytes.fromhex("300d06096086480165030402010500"))
        for changes in (
            {"order": ("cn", "dc")},
            {"order": ("dc", "cn", "cn")},
            {"pss": with_null},
            {"cu_id": '{"vmId":"x","vmssId":""}'},
            {"signer": self.other_key},
        ):
            status, response = self.client().issue(**changes)
            self.assertEqual(status, 400, changes)
            self.assertIn("CSR rejected", response["error_description"])

    def test_rejects_missing_attestation_where_required(self):
        status, response = self.client("attestation-required").issue()
        self.assertEqual((status, response["error_description"]), (400, "Attestation Token is missing"))

    def test_rejects_token_requests_without_certificate_or_with_another_form(self):
        client = self.client()
        self.assertEqual(client.issue()[0], 200)
        status, response = client.token(certificate=False)
        self.assertEqual((status, response["error_codes"]), (401, [392200]))
        for changes in (
            {"client_id": str(uuid.uuid4())},
            {"scope": "https://foreign.example"},
            {"scope": "https://foreign.example//.default"},
            {"scope": "x/.default/.default"},
            {"token_type": "pop"},
            {"req_cnf": "x"},
            {"client_assertion": "x"},
            {"grant_type": None},
        ):
            self.assertGreaterEqual(client.token(**changes)[0], 400, changes)
        for token_type in (None, "bearer"):
            self.assertEqual(client.token(token_type=token_type)[1]["token_type"], "Bearer")

    def test_rejects_tokens_without_their_certificate(self):
        for forms in ((), ("post-handshake",)):
            client = self.client(*forms)
            self.assertEqual(client.issue()[0], 200)
            token = client.token()[1]["access_token"]
            thief = Client(client.services, self.folder, self.other_key)
            self.assertEqual(thief.issue()[0], 200)
            self.assertEqual(client.call(token)[0], 200)
            if forms:
                with self.assertRaises(OSError):
                    client.call(token, certificate=False)
            else:
                self.assertEqual(client.call(token, certificate=False)[0], 401)
            self.assertEqual(thief.call(token)[0], 401)
            self.assertEqual(client.call(token, Authorization=f"Bearer {token}")[0], 401)
            self.assertEqual(client.call(token[:-2] + "AA")[0], 401)
            self.assertEqual(client.call(client.token(token_type=None)[1]["access_token"])[0], 401)

    def test_rejects_unknown_settings(self):
        for settings in ({"forms": ["x"]}, {"tls": "1.1"}, {"issuer": "dsa"}, {"x": 1}):
            with self.assertRaises((ValueError, TypeError)):
                ServiceSet(self.pki, **settings)

    def test_rejects_signing_requests_for_ec_keys(self):
        status, _ = self.client(key=EcKey()).issue()
        self.assertEqual(status, 400)


class EcKey:
    """A binding key on an elliptic curve, with the signature of an RSA key."""

    def __init__(self):
        self.public_key = new_ec_key().public_key
        self.sign = new_rsa_key().sign


if __name__ == "__main__":
    unittest.main()
