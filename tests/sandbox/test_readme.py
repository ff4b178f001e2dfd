"""The READMEs' tables name what exists, all of it and nothing else."""

import re
from pathlib import Path
from typing import Any

from tests.sandbox.sandbox_client import REPOSITORY, Sandbox

FOLDER = Path(REPOSITORY) / "sandbox"
README = (FOLDER / "README.md").read_text()


def section(page: str, heading: str) -> str:
    return next(part for part in page.split("\n## ") if part.startswith(f"{heading}\n"))


CORE = section(README, "The rails on the shared core")
SOME_HAVE = {
    *("POST /control/R/webhooks", "POST /control/R/coupons"),
    *("POST /control/R/disputes", "POST /control/R/disputes/take", "POST /control/R/disputes/end"),
}
# Stripe's refunds alone are known to fail after they were done; at WeChat Pay a refund that fails waits, see its own.
FAULTS_OF_SOME = {
    *("refund_comes_back", "refund_failed", "refund_abnormal", "share_closed", "share_waits", "bill_bad_hash"),
    *("sigtest", "notice_sigtest"),
}
CALL = re.compile(r"^\| `((?:GET|POST|PATCH|DELETE) [^`?]+)", re.MULTILINE)


def calls_of(sandbox: Sandbox) -> set[str]:
    return set(sandbox.control("GET", "/info")["control"])


def rails_on_the_core(offered: set[str]) -> set[str]:
    """Return the rails that have the calls only the core gives."""
    return {call.split("/")[2] for call in offered if call.endswith("/rotate-keys")}


def test_every_control_call_is_in_the_table(sandbox: Sandbox) -> None:
    offered = calls_of(sandbox)
    rails = rails_on_the_core(offered)
    written = set(CALL.findall(README)) - set(CALL.findall(CORE))
    assert written == {call for call in offered if call.split("/")[2] not in {"bank", "cmb", *rails}}
    for rail in rails:
        theirs = {call.replace(f"/control/{rail}/", "/control/R/") for call in offered if f"/control/{rail}/" in call}
        assert theirs | SOME_HAVE == set(CALL.findall(CORE)) | SOME_HAVE, rail


def test_every_fault_is_in_the_table(sandbox: Sandbox) -> None:
    of_the_core = {
        name
        for cell in re.findall(r"^\| (`[a-z_` ]+`) \|", CORE, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert "notice_reordered" in of_the_core
    wechats = set(re.findall(r"^\| `(\w+)` \|", section(page_of("wechat"), "Faults"), re.MULTILINE))
    assert wechats - of_the_core == faults_of(sandbox, "wechat") - of_the_core
    assert wechats <= faults_of(sandbox, "wechat")
    for rail in rails_on_the_core(calls_of(sandbox)):
        offered = faults_of(sandbox, rail)
        assert of_the_core - FAULTS_OF_SOME <= offered, rail
        assert {name for name in offered - of_the_core if f"`{name}`" not in page_of(rail)} == set(), rail


def page_of(rail: str) -> str:
    """Return what is written of a rail: the page of them all, and its own where it has one."""
    own = FOLDER / rail / "README.md"
    return README + (own.read_text() if own.exists() else "")


def faults_of(sandbox: Sandbox, rail: str) -> set[str]:
    refusal: Any = sandbox.control("POST", "/faults", {"rail": rail, "fault": "?"}, 400)
    return set(refusal["message"].split("known there: ")[1].split(", "))
