"""QR codes as pictures. Dark on white whatever the page's colours: scanners want it so."""

import io

import segno

MOST_CHARACTERS = 1500  # what phones still read from a screen


def svg(text: str) -> bytes:
    """Return a picture that scales. Raises ValueError for a text too long to be read from a screen."""
    out = io.BytesIO()
    _code(text).save(
        out, kind="svg", border=2, xmldecl=False, svgclass=None, lineclass=None, omitsize=True, light="#fff"
    )
    return out.getvalue()


def png(text: str, *, scale: int = 12) -> bytes:
    """Return a picture to print; scale: pixels a module. Raises ValueError as above."""
    out = io.BytesIO()
    _code(text).save(out, kind="png", border=4, scale=scale)
    return out.getvalue()


def _code(text: str) -> segno.QRCode:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a text of {len(text)} characters makes no code that a phone can read")
    return segno.make(text, error="m", micro=False, boost_error=False)
