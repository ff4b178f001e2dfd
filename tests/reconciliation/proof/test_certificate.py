"""A certificate is good as it was signed and in no other byte; its own figures must come to what it says."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kernel.errors import Rejected
from reconciliation.proof.certificate import (
    FORMAT,
    contradictions,
    key_id,
    public_pem,
    read_public_key,
    same_proof,
    signed,
    verified,
)
from reconciliation.proof.text import LISTED, of_certificate

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CUSTODY = {
    "bank": "citybank", "currency": "CNY", "holds": True, "agrees": False, "as_of": "2026-11-24",
    "statement_of": "2026-11-24", "hub": {"custody_minor": 100, "pool_minor": 70, "sub_accounts_minor": 30},
    "bank_statement": {"total_minor": 90, "pool_minor": 60, "sub_accounts_minor": 30},
    "explained": [{"kind": "at_bank_only", "effect_minor": -10, "id": "收费"}], "unexplained": [],
}  # fmt: skip
CONTROL = {
    "currency": "CNY", "holds": True, "custody_minor": 100, "owed_minor": 150, "due_minor": 50, "difference_minor": 0,
    "unexplained": [],
}  # fmt: skip
TOLD: dict[str, Any] = {
    "format": FORMAT, "date": "2026-11-24", "number": 1, "replaces": None, "before": None,
    "issued_at": "2026-11-25T01:00:00.000Z", "key": key_id(KEY.public_key()), "holds": True,
    "books": [{"book": 1, "journal": {"seq": 1, "sha256": "0" * 64}, "custody": [CUSTODY], "control": [CONTROL],
               "second_clearing": {"holds": True, "fees": [], "breaches": []}}],
}  # fmt: skip


def test_every_other_byte_makes_a_certificate_fail() -> None:
    file, public = signed(TOLD, KEY), KEY.public_key()
    assert verified(file, public) == TOLD
    for at in range(len(file)):
        for flip in (1, 32, 128):  # 32: the other case of a letter
            spoiled = bytearray(file)
            spoiled[at] ^= flip
            with pytest.raises(Rejected):
                verified(bytes(spoiled), public)
    for spoiled_file in (file[:-1], file + b"\n", b" " + file, file.replace(b":", b": ", 1), b"", b"[]", b"{}"):
        with pytest.raises(Rejected):
            verified(spoiled_file, public)


def test_another_key_verifies_nothing() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(Rejected, match="it is signed by"):
        verified(signed(TOLD, KEY), other.public_key())
    with pytest.raises(Rejected, match="changed"):  # who signs another's name
        verified(signed(TOLD, other), KEY.public_key())
    assert read_public_key(public_pem(KEY.public_key()).encode()) == KEY.public_key()
    with pytest.raises(Rejected, match="no Ed25519 public key"):
        read_public_key(b"-----BEGIN PUBLIC KEY-----\n")


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pool": lambda t: t["books"][0]["custody"][0]["hub"].update(pool_minor=71),
    "bank's pool": lambda t: t["books"][0]["custody"][0]["bank_statement"].update(pool_minor=61),
    "difference": lambda t: t["books"][0]["custody"][0]["explained"].clear(),
    "holds": lambda t: t["books"][0]["custody"][0].update(holds=False),
    "holds without a statement": lambda t: t["books"][0]["custody"][0].update(bank_statement=None),
    "control": lambda t: t["books"][0]["control"][0].update(owed_minor=151),
    "control differs and holds": lambda t: t["books"][0]["control"][0].update(owed_minor=151, difference_minor=1),
    "control holds": lambda t: t["books"][0]["control"][0].update(holds=False),
    "second clearing": lambda t: t["books"][0]["second_clearing"]["breaches"].append({}),
    "the whole": lambda t: t.update(holds=False),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_figures_that_do_not_add_up_are_found_though_they_are_signed(what: str) -> None:
    told = copy.deepcopy(TOLD)
    assert list(contradictions(told)) == []
    CONTRADICTIONS[what](told)
    with pytest.raises(Rejected, match="it is signed, but"):
        verified(signed(told, KEY), KEY.public_key())


def test_the_same_proof_is_the_same_whenever_it_is_issued() -> None:
    later = copy.deepcopy(TOLD)
    later.update(number=2, replaces="x", issued_at="later")
    later["books"][0]["journal"]["seq"] = 2
    assert same_proof(TOLD, later)
    later["books"][0]["custody"][0]["hub"]["pool_minor"] = 1
    assert not same_proof(TOLD, later)


def test_a_page_lists_the_first_of_many_bookings_and_sums_the_rest() -> None:
    many = [
        {
            "kind": "at_bank_only",
            "effect_minor": 3,
            "id": f"B{n}",
            "day": "2026-11-24",
            "minor": 3,
            "account": "6200018",
        }
        for n in range(LISTED + 20)
    ]
    one = {**many[0], "kind": "at_hub_only", "id": "H"}
    wrong = {"what": "balance_differs", "account": "6200018", "minor": -7, "detail": "the other way round"}
    told = copy.deepcopy(TOLD)
    told["books"][0]["custody"][0] |= {"explained": [*many, one], "unexplained": [wrong], "holds": False}
    control = {"deposits_under_way": [], "in_transit": [], "suspense": []}
    control["suspense"] = [{"id": f"S{n}", "minor": 5} for n in range(LISTED + 1)]  # type: ignore[misc]
    told["books"][0]["control"][0] |= control
    lines = list(of_certificate(told))
    assert sum(" B" in line for line in lines) == LISTED
    assert "    at_bank_only 银行已记账, 平台未记账: 20 more, 0.60 in all; the certificate lists them (--json)" in lines
    assert any(" H 0.03 on …0018: at_hub_only" in line for line in lines), "a few of another kind are not lost in them"
    assert any("✗ balance_differs" in line for line in lines)
    assert "    suspense 挂账: 1 more, 0.05 in all; the certificate lists them (--json)" in lines
