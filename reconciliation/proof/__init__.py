"""The proof of a business date 日终证明: custody at each bank against the bank's statement, certified."""

from reconciliation.proof import text
from reconciliation.proof.certificate import Certificate, public_pem, read_public_key, verified
from reconciliation.proof.invariants import INVARIANTS
from reconciliation.proof.keys import CertificateKeys
from reconciliation.proof.proving import Proving

__all__ = [
    "INVARIANTS",
    "Certificate",
    "CertificateKeys",
    "Proving",
    "public_pem",
    "read_public_key",
    "text",
    "verified",
]
