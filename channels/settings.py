"""Reading the settings of a channel account: plain JSON values, with each secret inline or in a file of its own."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


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


def absorb(
    settings: Mapping[str, Any], secrets: Collection[str], *, folder: Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return settings that name no file any more, parted into what may be read by anyone and what is secret.

    Every `<name>_file` is read now and becomes `<name>`; the `file` of an entry in a list becomes `certificate`.
    secrets: names the rail calls secret; a list of texts becomes lines. What is named like a secret, or holds a private
    key, counts as one all the same: to seal too much does no harm. folder: what relative paths are relative to; None
    where no file may be named, because the settings come over the network.
    Raises ValueError that says what is wrong, and never shows a secret.
    """
    public: dict[str, Any] = {}
    hidden: dict[str, str] = {}
    for name, value in _inline(settings, folder).items():
        if name in secrets and isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = "\n".join(value)  # several at once while one replaces the other: one a line
        if name in secrets and not isinstance(value, str | None):
            raise ValueError(f"{name} must be text, or a list of texts")
        if isinstance(value, str) and (name in secrets or _SECRET_NAME.search(name) or _PRIVATE in value):
            hidden[name] = value
        elif _PRIVATE in str(value):
            raise ValueError(f"{name} holds a private key deep inside; give it as a setting of its own")
        else:
            public[name] = value
    return public, hidden


_PRIVATE = "PRIVATE KEY-----"
_SECRET_NAME = re.compile(
    r"secret|password|passphrase|private|token|credential|apiv?\d*_?key|(?<!public)(?<!public_)(?<!publishable_)key$|(^|_)pin$",
    re.IGNORECASE,
)
_FILE_OF_ENTRY = "certificate"


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
