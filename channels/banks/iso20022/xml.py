"""Files of ISO 20022, distrusted: one message of one version, whole, or BadStatement."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from channels.banks.errors import BadStatement
from kernel.money import Money, from_major

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
MAX_BYTES = 64 * 2**20
MAX_DEPTH = 40  # the messages themselves go 14 deep
MAX_TEXT = 500  # characters; no text of the messages may have more
NOT_PROVIDED = "NOTPROVIDED"  # what ISO 20022 puts where an end-to-end id is missing


def versions(message: str, first: int, last: int) -> tuple[str, ...]:
    """Return the names of a message's versions, first to last: camt.053.001.02 …"""
    return tuple(f"{message}.001.{number:02d}" for number in range(first, last + 1))


_NOTHING: Mapping[str, Callable[[ET.Element, ET.Element], None]] = {}


class _Bounded(ET.TreeBuilder):
    """Builds the tree with plain names; refuses foreign namespaces and nesting no real file has.

    The whole file is of the version that its root is of.
    """

    def __init__(self, messages: Sequence[str], taken: Mapping[str, Callable[[ET.Element, ET.Element], None]]) -> None:
        super().__init__()
        self._taken = taken
        self._above: list[ET.Element] = []
        self._allowed = {f"{{{NAMESPACE}{message}}}Document": f"{{{NAMESPACE}{message}}}" for message in messages}
        self._messages = messages
        self._prefix = "{}"
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ET.Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadStatement("too_deep", f"elements are nested deeper than {MAX_DEPTH}")
        if self._depth == 1:
            self._prefix = self._allowed.get(tag, "{}")
        if tag.startswith(self._prefix):
            tag = tag[len(self._prefix) :]
        elif self._depth <= 2:
            raise BadStatement("wrong_namespace", f"this is {tag[:120]}, not a {_named(self._messages)}")
        # Deeper foreign elements (supplementary data of the bank's own) keep their full name, so nothing reads them.
        node = super().start(tag, attrs)
        self._above.append(node)
        return node

    def end(self, tag: str) -> ET.Element:
        self._depth -= 1
        node = super().end(tag.removeprefix(self._prefix))
        self._above.pop()
        if (take := self._taken.get(node.tag)) is not None and self._above:
            take(self._above[-1], node)
            self._above[-1].remove(node)
        return node


# What banks in China write and expat does not read; the later of the two standards has all of the earlier.
_CHINESE = re.compile(rb"""<\?xml[^>]{1,99}encoding\s*=\s*["'](gb18030|gbk|gb2312)["']""", re.IGNORECASE)


def _named(messages: Sequence[str]) -> str:
    return messages[0] if len(messages) == 1 else f"{messages[0]} to {messages[-1].rpartition('.')[2]}"


def document(
    xml: bytes, messages: Sequence[str], taken: Mapping[str, Callable[[ET.Element, ET.Element], None]] = _NOTHING
) -> ET.Element:
    """Return the root of a message of one of these versions. DTDs and entities are refused.

    taken: by an element's name, who is given each of them, with the element that it stands in, as soon as it has been
    read; the tree keeps none of these. So a file of many of them needs little memory. What is given may be of a file
    that turns out not to be sound: nothing may be done with it before this returns.
    """
    if len(xml) > MAX_BYTES:
        raise BadStatement("too_big", f"{len(xml)} bytes; at most {MAX_BYTES} are read")
    parser = DefusedXMLParser(target=_Bounded(messages, taken), forbid_dtd=True)
    try:
        parser.feed(xml.decode("gb18030") if _CHINESE.match(xml) else xml)
        root = parser.close()
    except DefusedXmlException as error:
        raise BadStatement("dtd_forbidden", f"the file defines entities or a DTD: {type(error).__name__}") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        raise BadStatement("not_xml", f"the file is not well-formed XML: {str(error)[:200]}") from None
    if not isinstance(root, ET.Element) or root.tag != "Document":
        raise BadStatement("wrong_namespace", f"this is no {_named(messages)}")
    return root


def children(node: ET.Element, path: str) -> list[ET.Element]:
    return node.findall(path)


def only(node: ET.Element, name: str) -> ET.Element:
    found = node.findall(name)
    if len(found) != 1:
        raise BadStatement("malformed", f"{node.tag} has {len(found)} elements {name} where one must be")
    return found[0]


def maybe(node: ET.Element, path: str) -> str | None:
    found = node.find(path)
    return None if found is None else told(found)


def told(node: ET.Element) -> str | None:
    """Return an element's text; None where it is empty. What is no text of these messages is not read in part."""
    text = (node.text or "").strip()
    if len(node) or len(text) > MAX_TEXT:
        raise BadStatement("malformed", f"{node.tag} is not text alone, or longer than {MAX_TEXT} characters")
    return text or None


def text_of(node: ET.Element, path: str) -> str:
    text = maybe(node, path)
    if text is None:
        raise BadStatement("malformed", f"{node.tag} has no {path}")
    return text


_DECIMAL = re.compile(r"\+?([0-9]*)(?:\.([0-9]*))?", re.ASCII)


def amount_of(text: str, currency: str) -> Money:
    """Read an amount as XML may write it: 10, 10.500, .5. Raises ValueError unless it is exact in its currency."""
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise ValueError(f"{text[:40]!r} is not an amount")
    whole, decimals = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0")
    return from_major(f"{whole}.{decimals}" if decimals else whole, currency)
