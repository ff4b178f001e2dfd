"""Reading the settings of a channel account: plain JSON values, with each secret inline or in a file of its own."""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kernel.addresses import Addresses, AddressRefused, check_shown

# Addresses that payers' browsers are sent to, and that the hub itself never calls.
SHOWN = frozenset({"return_url", "open_url"})
# What a rail's sign-up says beside settings, as the simulated rails do: it may stand among them, and is read by none.
PASSED_OVER = frozenset(
    {"merchant", "name", "fee_bp", "fixed_fee_minor", "refund_fee", "settle_to", "certificate", "bank_name", "bic"}
    | {"webhook_id"}  # of an endpoint that was registered: PayPal's is read, Stripe's is not
)


def needed(settings: Mapping[str, Any], name: str) -> str:
    """Return the text of `name`, which must be there. Raises ValueError that names what is missing."""
    value = settings.get(name)
    if value is None or not str(value).strip():
        raise ValueError(f"{name} is not given")
    return str(value)


def secret(settings: Mapping[str, Any], name: str) -> str:
    """Return the text of `name`, or of the file that `name`_file names; the text wins where both are given.

    Raises ValueError that says what is missing, and never shows a secret.
    """
    inline = settings.get(name)
    if inline:
        if not isinstance(inline, str):
            raise ValueError(f"{name} must be text")
        return inline
    path = settings.get(f"{name}_file")
    if not path or not isinstance(path, str):
        raise ValueError(f"neither {name} nor {name}_file is given")
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_file {path} cannot be read: {type(error).__name__}") from None


def called_address(
    settings: Mapping[str, Any], name: str = "base_url", *, default: str = "", path: bool = False
) -> str:
    """Return an address that a rail is called at: without a slash at its end, or with a path where one may be.

    Raises ValueError that quotes nothing of it. Whether it may be called is another question: kernel/addresses.py.
    """
    address = str(settings.get(name) or default) if default else needed(settings, name)
    try:
        parts = urlsplit(address)
    except ValueError:
        raise ValueError(f"{name} cannot be read as an address") from None
    whole = parts.scheme in ("http", "https") and parts.netloc and "@" not in parts.netloc
    if not whole or parts.query or parts.fragment or (parts.path.strip("/") and not path):
        what = "an address of http or https" if path else "scheme and host alone, as https://api.example.com"
        raise ValueError(f"{name} must be {what}, without a user, a password or a query")
    return address if path else address.rstrip("/")


def check_addresses(settings: Mapping[str, Any], addresses: Addresses) -> None:
    """Check every address in settings that come from outside, whatever its name and however deep it stands.

    An address is what is called …url, and what looks like one. Raises AddressRefused that begins with its name.
    """
    for name, value in _addresses_in(settings):
        try:
            if name.rpartition(".")[2] in SHOWN:
                check_shown(value)
            else:
                addresses.check_entered(value)
        except AddressRefused as refused:
            raise AddressRefused(f"{name}: {refused}") from None


def _addresses_in(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for inner, part in value.items():
            yield from _addresses_in(part, f"{name}.{inner}" if name else str(inner))
    elif isinstance(value, list):
        for part in value:
            yield from _addresses_in(part, name)
    elif value not in (None, "") and (name.lower().endswith("url") or _LIKE_AN_ADDRESS.match(str(value))):
        yield name, value


def absorb(
    settings: Mapping[str, Any], secrets: Collection[str], *, folder: Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return settings that name no file any more, parted into what may be read by anyone and what is secret.

    Every `<name>_file` is read now and becomes `<name>`; the `file` of an entry in a list becomes `certificate`.
    secrets: names the rail calls secret; a list of texts becomes lines. What is named like a secret, or holds a private
    key, counts as one all the same: to seal too much does no harm. Deep inside a list or an object it is refused.
    folder: what relative paths are relative to; None where no file may be named, because the settings come over the
    network.
    What no database keeps as it is, such as the character NUL, is refused: other accounts' rows are read beside it.
    Raises ValueError that says what is wrong, and never shows a secret.
    """
    public: dict[str, Any] = {}
    hidden: dict[str, str] = {}
    _check_text(settings)
    for name, value in _inline(settings, folder).items():
        is_secret = name in secrets or named_like_a_secret(name)
        if is_secret and isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = "\n".join(value)  # several at once while one replaces the other: one a line
        if is_secret and not isinstance(value, str | None):
            raise ValueError(f"{name} must be text, or a list of texts")
        if isinstance(value, str) and (is_secret or _PRIVATE in value):
            hidden[name] = value
        elif _PRIVATE in str(value):
            raise ValueError(f"{name} holds a private key deep inside; give it as a setting of its own")
        elif (inner := _secret_within(value)) is not None:
            raise ValueError(f"{name} holds {inner} deep inside; give a secret as a setting of its own")
        else:
            public[name] = value
    return public, hidden


def named_like_a_secret(name: str) -> bool:
    """Tell whether a setting's name says that it is secret, whichever rail it is for."""
    return _SECRET_NAME.search(name) is not None


def without_secret_looking(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return public settings for people: what is named like a secret is shown by its name alone.

    Accounts of before hold such settings where their names were misspelt, see absorb.
    """
    return {name: "…" if named_like_a_secret(name) and value is not None else value for name, value in settings.items()}


def _secret_within(value: Any) -> str | None:
    """Return the name of something within a value that is named like a secret."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if part is not None and named_like_a_secret(str(name)):
                return str(name)[:64]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return next((found for part in parts if (found := _secret_within(part)) is not None), None)


_PRIVATE = "PRIVATE KEY-----"
_SECRET_NAME = re.compile(
    r"secret|password|passphrase|private|token|credential|apiv?\d*_?key|(?<!public)(?<!public_)(?<!publishable_)key$|(^|_)pin$",
    re.IGNORECASE,
)
_FILE_OF_ENTRY = "certificate"
_LIKE_AN_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.\-]*://", re.IGNORECASE)
# Control characters but those of texts with lines, and halves of characters.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_DEEPEST = 8


def _check_text(value: Any, name: str = "", depth: int = 0) -> None:
    """Raise ValueError for what cannot be kept, and read again, as it came; it names where."""
    shown = _UNFIT.sub("?", name)[:64]
    if depth > _DEEPEST:
        raise ValueError(f"{shown} holds lists and objects in one another, more than {_DEEPEST} deep")
    if isinstance(value, Mapping):
        for inner, part in value.items():
            if _UNFIT.search(str(inner)):
                raise ValueError("the name of a setting holds a character that no text may hold")
            _check_text(part, str(inner), depth + 1)
    elif isinstance(value, list):
        for part in value:
            _check_text(part, name, depth + 1)
    elif isinstance(value, str) and _UNFIT.search(value):
        raise ValueError(f"{shown} holds a character that no text may hold, such as NUL")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"{shown} is a number of more than 63 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{shown} is not a finite number")


def _inline(settings: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """Return settings with every file's content in place of its path."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        plain = _FILE_OF_ENTRY if name == "file" else name.removesuffix("_file")
        if plain == name:
            found[name] = _inline_within(value, folder)
        elif value and not settings.get(plain):  # the text wins where both are given
            found[plain] = _content(name, value, folder)
    return found


def _inline_within(value: Any, folder: Path | None) -> Any:
    if isinstance(value, Mapping):
        return _inline(value, folder)
    if isinstance(value, list):
        return [_inline_within(part, folder) for part in value]
    return value


def _content(name: str, path: object, folder: Path | None) -> str:
    if folder is None:
        raise ValueError(f"{name}: no file can be named from outside; send the content as {name.removesuffix('_file')}")
    try:
        return (folder / str(path)).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} {path} cannot be read: {type(error).__name__}") from None
