"""Certificates of the servers (from one authority) and of the managed identities (from others)."""

import datetime
import ipaddress
import pathlib
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MANAGED_IDENTITY_ISSUER = "managedidentitysnissuer.login.microsoft.com"


class Authority:
    """Signs certificates with its own key."""

    def __init__(self, common_name, key=None):
        self.key = key or new_ec_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        authority = x509.BasicConstraints(ca=True, path_length=0)
        usage = key_usage(digital_signature=True, key_cert_sign=True)
        self.certificate = self.sign(
            self.name, self.key.public_key(), [(authority, True), (usage, True)]
        )

    def sign(self, subject, public_key, extensions):
        """A certificate that is valid from yesterday, for eight days."""
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=-1))
            .not_valid_after(now + datetime.timedelta(days=7))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())


class Pki:
    """The authorities of one run, and TLS settings based on them. Files are written to `folder`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.servers = Authority("Foreign test servers")
        self.issuers = {"ec": Authority(MANAGED_IDENTITY_ISSUER)}
        self._lock = threading.Lock()
        self._contexts = {}
        self.ca_file = self._write("ca.pem", pem(self.servers.certificate))

    def issuer(self, kind):
        """The authority of the managed identities' certificates, with an `ec` or `rsa` key."""
        with self._lock:
            if kind not in self.issuers:
                self.issuers[kind] = Authority(MANAGED_IDENTITY_ISSUER, ISSUER_KEYS[kind]())
            return self.issuers[kind]

    def is_issuer(self, name):
        return name == self.issuers["ec"].name

    def server_context(self, host, tls, issuer, post_handshake=False):
        """Settings of a server that requests the certificate in the handshake, or after it (TLS 1.3)."""
        setting = (host, tls, issuer, post_handshake)
        trusted = self.issuer(issuer)
        with self._lock:
            if setting not in self._contexts:
                self._contexts[setting] = self._create_context(trusted, *setting)
            return self._contexts[setting]

    def _create_context(self, trusted, host, tls, _, post_handshake):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[tls]
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(self._server_file(host))
        # Optional, so that a missing certificate gets an HTTP response. After the handshake only an alert is possible.
        context.verify_mode = ssl.CERT_REQUIRED if post_handshake else ssl.CERT_OPTIONAL
        context.post_handshake_auth = post_handshake
        context.load_verify_locations(cadata=pem(trusted.certificate).decode())
        return context

    def _server_file(self, host):
        key = new_ec_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign test server")])
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        names = x509.SubjectAlternativeName([general_name(host)])
        certificate = self.servers.sign(
            subject, key.public_key(), [(names, False), (purpose, False)]
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        name = f"server-{len(self._contexts)}.pem"
        return self._write(name, private + pem(certificate) + pem(self.servers.certificate))

    def _write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


def client_certificate_extensions():
    return [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (key_usage(digital_signature=True), True),
    ]


def key_usage(digital_signature=False, key_cert_sign=False):
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def new_ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key():
    return rsa.generate_private_key(65537, 2048)


ISSUER_KEYS = {"ec": new_ec_key, "rsa": new_rsa_key}
