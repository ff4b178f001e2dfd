"""Secrets in text for people: found by their shape and replaced, whatever the sentence around them says.

This is the last line, not the first: what knows that it holds a secret does not say it (`sealing.Secret`). It is for
what others put into their messages: a driver the address it could not reach, a server the head it could not read.
"""

import re
from collections.abc import Callable

HIDDEN = "…"

# Names under which a secret stands, and nothing else does. Longer names that end in one of these count too.
_NAMES = (
    r"passw(?:or)?d|passphrase|pwd|secret|secret_?key|api_?key|app_?key|apikey_v\d|api_?v\d_?key|private_?key|"
    r"access_?token|refresh_?token|session_?key|session_?token|auth_?code|credentials?|pepper"
)
# What is quoted may itself stand in quotes, as JSON in JSON does; then its own quotes are escaped.
_QUOTED = r'\\"(?:(?!\\").)*\\"|"(?:[^"\\]|\\.)*"' + "|" + r"\\'(?:(?!\\').)*\\'|'(?:[^'\\]|\\.)*'"

# Keys that say what they are: ours, and those of rails that do the same. A person's credential begins as Stripe's
# publishable keys do, which are no secret and say live or test.
_KEY = re.compile(r"(?<![0-9A-Za-z])((?:sk|rk|whsec)_(?:live_|test_)?|pk_(?!live_|test_))[0-9A-Za-z_\-]{16,}")

# (what must stand in the text, in lower case, for the pattern to be worth a try; the pattern; what comes instead)
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (
        ("private key-----",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    # A header, quoted in whatever way: everything to the end of the line or of the quotation.
    (
        ("authorization", "cookie"),
        re.compile(
            r"""(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\\?["']?\s*[:=,]\s*(?:b?\\?["'])?)[^"'\r\n\\]+"""
        ),
        rf"\1\2{HIDDEN}",
    ),
    (
        ("bearer", "basic"),
        re.compile(r"\b((?i:bearer)|(?i:basic)(?=\s+\S*[0-9A-Z=]))(\s+)[0-9A-Za-z._~+/=\-]{8,}"),
        rf"\1\2{HIDDEN}",
    ),
    # An address with a password; one that is not written as the standard wants it may hold an @ itself.
    (("@",), re.compile(r"""(://[^\s:/@"']*:)[^\s/"'<>]*@"""), rf"\1{HIDDEN}@"),
    (
        ("passw", "passphrase", "pwd", "secret", "key", "token", "auth_code", "authcode", "credential", "pepper"),
        re.compile(rf"""(?i)((?:{_NAMES})\\?["']?\s*(?:=|:(?!//))\s*)(?:{_QUOTED}|[^\s"'\\&,;)}}\]]+)"""),
        rf"\1{HIDDEN}",
    ),
    (("sk_", "rk_", "pk_", "whsec_"), _KEY, rf"\1{HIDDEN}"),
)
_SIGNS = frozenset(sign for signs, _, _ in _SHAPES for sign in signs)


def masked(text: str) -> str:
    """Return the text with passwords, keys, tokens and authorizations replaced by an ellipsis; repeatable."""
    lower = text.lower()
    found = {sign for sign in _SIGNS if sign in lower}
    if found:
        for signs, shape, instead in _SHAPES:
            if not found.isdisjoint(signs):
                text = shape.sub(instead, text)
    return text


def without_keys(text: str) -> str:
    """Return the text with keys that say what they are replaced, and nothing else: answers name fields, too."""
    return _KEY.sub(rf"\1{HIDDEN}", text)


def masking(secrets: list[str]) -> Callable[[str], str]:
    """Return a mask of these very texts. One of fewer than six characters is left out: it would stand in any word."""
    parts = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
    if not parts:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, parts)))
    return lambda text: pattern.sub(HIDDEN, text)
