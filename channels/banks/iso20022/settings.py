"""What a bank that takes files gave one customer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from channels.banks.iso20022.pain001 import FORMS, PAIN_001, WRITTEN
from channels.banks.orders import no_text
from channels.settings import secret

TIMEOUT_S = 30.0
PAID_BY = ("report", "booking")  # by which word of the bank's a line is paid
NOTICES = ("camt.054", "camt.052")  # in which messages banks tell of bookings as they are made


@dataclass(frozen=True, slots=True)
class BankSettings:
    """What the bank gave one customer. Secrets are left out of its text form."""

    base_url: str  # the address the paths /accounts and /files are put after
    token: str = field(repr=False)
    key_id: str
    private_key: str = field(repr=False)  # PEM, signs what we upload
    bank_keys: Mapping[str, str]  # key id → PEM; several while the bank changes its key
    bic: str
    bank_name: str = ""
    timeout_s: float = TIMEOUT_S
    drop_dir: str | None = None  # the folder by which files go, where they do not go by base_url
    pain_001: str = PAIN_001  # the version in which new batches are written
    notices: str = NOTICES[0]  # one of NOTICES: the same bookings are not read from both
    paid_by: str = PAID_BY[0]  # one of PAID_BY: by its report alone, or also by its booking of the debit
    account_holder: str | None = (
        None  # 户名: in whose name the pool account is; None: of a link made before it was asked
    )


def read_settings(enrolment: Mapping[str, Any]) -> BankSettings:
    """Return the settings from a bank's answer to an enrolment.

    enrolment: base_url, token, key_id, private_key, bank_key_id, bank_public_key, bic, bank_name, drop_dir, pain_001,
    notices, paid_by, account_holder; each of the secrets and keys may be a file instead: token_file, … Raises
    ValueError and KeyError, which show no secret.
    """
    return BankSettings(
        base_url=enrolment["base_url"],
        token=secret(enrolment, "token").strip(),
        key_id=enrolment["key_id"],
        private_key=secret(enrolment, "private_key"),
        bank_keys={enrolment["bank_key_id"]: secret(enrolment, "bank_public_key")},
        bic=enrolment["bic"],
        bank_name=enrolment.get("bank_name", ""),
        drop_dir=enrolment.get("drop_dir"),
        pain_001=_version(enrolment.get("pain_001", PAIN_001)),
        notices=_notices(enrolment.get("notices", NOTICES[0])),
        paid_by=_paid_by(enrolment.get("paid_by", PAID_BY[0])),
        account_holder=_holder(enrolment.get("account_holder")),
    )


def _holder(told: Any) -> str | None:
    if told is not None and (not isinstance(told, str) or (why := no_text("account_holder", told, 140))):
        raise ValueError(why if isinstance(told, str) else "account_holder is a text")
    return told


def _version(told: Any) -> str:
    if told not in WRITTEN:
        raise ValueError(f"pain_001 is one of {', '.join(WRITTEN)}")
    return str(told)


def _notices(told: Any) -> str:
    if told not in NOTICES:
        raise ValueError(f"notices is one of {', '.join(NOTICES)}")
    return str(told)


def _paid_by(told: Any) -> str:
    if told not in PAID_BY:
        raise ValueError(f"paid_by is one of {', '.join(PAID_BY)}")
    return str(told)


def form(settings: Mapping[str, Any]) -> int:
    """Return how new orders are written by a bank's settings: one of FORMS."""
    version = settings.get("pain_001")
    return next((number for number, (known, _) in FORMS.items() if number and known == version), 1)
