"""The certificate of a bound token, on every platform."""

from keybound import BindingCertificate as WindowsCertificate

__all__ = ["WindowsCertificate"]
