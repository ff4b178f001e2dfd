"""Reading the settings of a channel account: plain JSON values, with each secret inline or in a file of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
