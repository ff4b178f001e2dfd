"""Sealed envelopes: they open where they were sealed, whole, and nowhere else."""

import copy
import json
import os
import pickle
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.sealing import (
    CannotOpen,
    MasterKey,
    Secret,
    fingerprint_of,
    label_of,
    master_of,
    rewrap,
    seal,
    unseal,
    without_secrets,
)

HERE = ("account", 7, "main", "wechat", 3, "0" * 64)
LABEL = {"fingerprints": {"private_key": "0a1b2c3d"}}


class Keys:
    """Master keys in memory."""

    def __init__(self, *ids: str) -> None:
        self.all = {ident: MasterKey(ident, os.urandom(32)) for ident in ids}
        self.now = ids[0]

    def current(self) -> MasterKey:
        return self.all[self.now]

    def find(self, key_id: str) -> MasterKey | None:
        return self.all.get(key_id)

    def fingerprint(self, secret: Secret) -> str:
        return fingerprint_of(secret, b"k" * 32)


KEYS = Keys("mk_1", "mk_2")


def an_envelope(plain: bytes = b"the secret", bound: Any = HERE) -> str:
    return seal(plain, bound, KEYS, os.urandom, label=LABEL)


@given(st.binary(max_size=2_000), st.lists(st.text() | st.integers(-(2**53), 2**53), max_size=5))
def test_what_was_sealed_comes_out_where_it_was_sealed(plain: bytes, bound: list[Any]) -> None:
    assert unseal(an_envelope(plain, bound), bound, KEYS) == plain


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("account", 8, "main", "wechat", 3, "0" * 64),
        ("account", 7, "other", "wechat", 3, "0" * 64),
        ("account", 7, "main", "alipay", 3, "0" * 64),
        ("account", 7, "main", "wechat", 2, "0" * 64),
        ("account", 7, "main", "wechat", 3, "1" + "0" * 63),
        ("account", "7", "main", "wechat", 3, "0" * 64),
        ("account", 7, "main", "wechat", 3),
        ("account", 7, "mainwechat", 3, "0" * 64),
    ],
    ids=["book", "account", "rail", "version", "settings", "kind of value", "less", "joined"],
)
def test_an_envelope_opens_nowhere_else(elsewhere: Any) -> None:
    with pytest.raises(CannotOpen):
        unseal(an_envelope(), elsewhere, KEYS)
    with pytest.raises(CannotOpen):
        rewrap(an_envelope(), elsewhere, KEYS, os.urandom)


@pytest.mark.parametrize("name", ["wrapped", "sealed"])
def test_no_bit_of_an_envelope_can_be_changed(name: str) -> None:
    parts = json.loads(an_envelope())
    raw = b64decode(parts[name])
    for place in range(len(raw)):
        altered = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(CannotOpen):
            unseal(json.dumps(parts | {name: b64encode(altered).decode()}), HERE, KEYS)


@pytest.mark.parametrize(
    "change",
    [{"key": "mk_2"}, {"key": "mk_9"}, {"v": 2}, {"label": {}}, {"label": None}, {"sealed": ""}, {"wrapped": "?"}],
    ids=str,
)
def test_what_stands_in_the_clear_cannot_be_changed_either(change: dict[str, Any]) -> None:
    with pytest.raises(CannotOpen):
        unseal(json.dumps(json.loads(an_envelope()) | change), HERE, KEYS)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"v": 1}', "\x00"])
def test_what_is_no_envelope_is_said_to_be_none(text: str) -> None:
    with pytest.raises(CannotOpen, match="no envelope"):
        unseal(text, HERE, KEYS)


def test_parts_of_two_envelopes_make_no_third() -> None:
    one, other = json.loads(an_envelope(b"one")), json.loads(an_envelope(b"two"))
    with pytest.raises(CannotOpen):
        unseal(json.dumps(one | {"sealed": other["sealed"]}), HERE, KEYS)


def test_wrapping_anew_changes_the_master_key_and_touches_nothing_else() -> None:
    keys = Keys("mk_1", "mk_2")
    old = seal(b"the secret", HERE, keys, os.urandom, label=LABEL)
    keys.now = "mk_2"
    new = rewrap(old, HERE, keys, os.urandom)
    assert (master_of(old), master_of(new)) == ("mk_1", "mk_2")
    assert json.loads(new)["sealed"] == json.loads(old)["sealed"]
    assert label_of(new) == LABEL
    del keys.all["mk_1"]
    assert unseal(new, HERE, keys) == b"the secret"
    with pytest.raises(CannotOpen, match="mk_1"):
        unseal(old, HERE, keys)


def test_the_same_text_is_never_sealed_alike() -> None:
    assert len({an_envelope() for _ in range(20)}) == 20


def test_nothing_of_the_text_stands_in_the_envelope() -> None:
    envelope = an_envelope(b"very-private-text")
    assert "very-private" not in envelope
    assert b64encode(b"very-private-text").decode()[:12] not in envelope


SECRET = Secret("hush-hush-hush")


def raised() -> BaseException:
    try:
        raise ValueError(SECRET, f"{SECRET}")
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    "shown",
    [
        repr(SECRET),
        str(SECRET),
        f"{SECRET}",
        f"{[SECRET]}",
        "%s %r" % (SECRET, SECRET),  # noqa: UP031
        repr(raised()),
        repr(MasterKey("mk", b"hush-hush-hush-hush-hush-hush-32")),
    ],
)
def test_a_secret_shows_itself_in_no_way_of_writing_it(shown: str) -> None:
    assert "hush" not in shown
    assert "68757368" not in shown


def test_a_secret_leaves_the_process_in_no_pickle_and_goes_along_in_no_json() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(SECRET)
    with pytest.raises(TypeError):
        copy.copy(SECRET)
    with pytest.raises(TypeError):
        json.dumps(SECRET)


def test_secrets_are_compared_by_what_they_are() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_what_people_read_has_its_secrets_taken_out() -> None:
    pem = Secret("-----BEGIN PRIVATE KEY-----\nMIIEvAIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n")
    told = without_secrets("cannot read b'hkiG9w0BAQEFAASC' of hush-hush-hush", [pem, SECRET])
    assert told == "cannot read b'…' of …"


def test_a_fingerprint_is_the_same_for_the_same_secret_and_key_only() -> None:
    assert fingerprint_of(SECRET, b"k") == fingerprint_of(Secret("hush-hush-hush"), b"k")
    assert len({fingerprint_of(SECRET, b"k"), fingerprint_of(SECRET, b"l"), fingerprint_of(Secret("x"), b"k")}) == 3
