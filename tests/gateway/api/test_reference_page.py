"""The page of the API: everything of the document is on it, and it is one page that needs nothing besides."""

import gzip
import json
import os
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.async_api import async_playwright

from gateway.api import reference
from gateway.api.reference import takes_gzip
from gateway.api.reference_page import marked, page, style_source
from gateway.door.openapi import EXAMPLES, document
from gateway.door.problems import PROBLEMS
from tests.documented import openapi
from tests.gateway.cashier.browsers import FLAGS, chromium
from tests.gateway.front import a_front

PAGE = page(openapi())
RECORDED = json.loads(EXAMPLES.read_text("utf-8"))
EMPTY = {"meta", "link", "br"}  # elements without an end


class Read(HTMLParser):
    """Reads a page strictly: what is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []  # element, attribute, value
        self.texts: dict[str, list[str]] = {}  # element → what stands in it
        self.faults: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in EMPTY:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def of(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


READ = Read(PAGE)


def test_the_page_is_whole_html_and_every_link_in_it_leads_somewhere() -> None:
    assert READ.faults == []
    ids = READ.of("id")
    assert len(ids) == len(set(ids))
    assert [href for href in READ.of("href") if href[:1] == "#" and href[1:] not in ids] == []
    assert Read("<p><b>x</p></b>").faults, "what is not closed in order is noticed"


def test_the_page_asks_for_nothing_besides_itself_and_has_no_script() -> None:
    assert {href for href in READ.of("href") if href[:1] != "#"} == {"/openapi.json", "data:,"}
    assert READ.of("src") == []
    assert "script" not in READ.texts
    assert not [name for _, name, _ in READ.attributes if name.startswith("on") or name == "style"]
    assert "url(" not in READ.texts["style"][0]
    assert "@import" not in READ.texts["style"][0]


def test_every_operation_problem_and_object_of_the_document_is_on_the_page() -> None:
    ids = set(READ.of("id"))
    operations = {o["operationId"] for methods in openapi()["paths"].values() for o in methods.values()}
    assert operations <= ids
    assert {f"problem-{code}" for code in PROBLEMS} <= ids
    answered = {name for name in openapi()["components"]["schemas"] if not name.endswith(("In", "Change"))}
    assert {f"object-{name}" for name in answered} <= ids


@pytest.mark.parametrize("name", RECORDED)
def test_the_command_that_is_shown_sends_the_request_of_the_example(name: str) -> None:
    example = RECORDED[name]
    (shown,) = [text for text in READ.texts["pre"] if text.startswith("curl") and _sent(text) == _wanted(example)]
    assert shown.count("$HUB") == 1


def _sent(command: str) -> tuple[Any, ...]:
    words = shlex.split(command.replace("\\\n", " "))
    given: dict[str, list[str]] = {}
    address = ""
    left: Iterator[str] = iter(words[1:])
    for word in left:
        if word.startswith("-"):
            given.setdefault(word, []).append(next(left))
        else:
            address = word.removeprefix("$HUB")
    headers = dict(line.split(": ", 1) for line in given["-H"])
    assert headers["Authorization"] == "Bearer $KEY"
    body = json.loads(given["-d"][0]) if "-d" in given else None
    return given.get("-X", ["GET"])[0], *_taken_apart(address), headers.get("Idempotency-Key"), body


def _wanted(example: Any) -> tuple[Any, ...]:
    return example["method"], *_taken_apart(example["path"]), example.get("idempotency_key"), example.get("body")


def _taken_apart(address: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(address)
    return parts.path, dict(parse_qsl(parts.query))


async def test_a_gateway_serves_the_page_to_anyone_and_lets_it_do_nothing(database_url: str, tmp_path: Path) -> None:
    async with a_front(database_url, tmp_path) as front:
        async with front.client.get("/docs", headers={"Accept-Encoding": "identity"}) as answer:
            assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
            policy = answer.headers["Content-Security-Policy"]
            assert await answer.text() == PAGE
        assert policy.startswith(f"default-src 'none'; style-src {style_source()}; img-src data:; ")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        async with front.client.get("/docs", headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as packed:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await packed.read()).decode() == PAGE
        assert (await front.send("HEAD", "/docs", Authorization=None)).status == 200
        assert (await front.send("POST", "/docs", Authorization=None)).code == "method_not_allowed"


@pytest.mark.parametrize(("path", "status"), [("/", 303), ("/docs/", 308)])
async def test_whoever_comes_by_another_address_is_led_to_the_page(
    database_url: str, tmp_path: Path, path: str, status: int
) -> None:
    async with a_front(database_url, tmp_path) as front:
        for method in ("GET", "HEAD"):
            async with front.client.request(method, path, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"], await answer.read()) == (status, "/docs", b"")
        async with front.client.get(path) as answer:
            assert (answer.status, answer.url.path, answer.content_type) == (200, "/docs", "text/html")
        assert (await front.send("POST", path, Authorization=None)).code == "method_not_allowed"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True), ("GZIP", True), ("x-gzip", True), ("br, gzip", True), ("gzip;q=0.5, br", True), ("*", True),
        ("gzip ; q=1.000", True), ("gzip;q=0.001", True), ("*;q=0, gzip", True),
        ("gzip;q=0", False), ("gzip; q=0.000", False), ("gzip;Q=0", False), ("br", False), ("", False),
        ("*;q=0", False), ("gzip;q=0, *", False), ("identity", False), ("notgzip", False), ("gzip;q=tea", False),
    ],
)  # fmt: skip
def test_a_page_is_packed_only_for_whoever_takes_that(accepted: str, packed: bool) -> None:
    assert takes_gzip(accepted) is packed


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_whoever_refuses_gzip_gets_the_page_as_it_is(database_url: str, tmp_path: Path, path: str) -> None:
    async with a_front(database_url, tmp_path) as front:
        headers = {"Accept-Encoding": "gzip;q=0"}
        async with front.client.get(path, headers=headers, auto_decompress=False) as answer:
            assert (answer.status, "Content-Encoding" in answer.headers) == (200, False)


def test_texts_of_the_document_are_shown_as_they_are_and_never_as_html() -> None:
    assert marked("a `b` [c](d.md)") == "a <code>b</code> c"
    assert marked("- a\n- <b>") == "<ul><li>a</li><li>&lt;b&gt;</li></ul>"
    assert marked("a\n\nb") == "<p>a</p><p>b</p>"
    harm = json.loads(json.dumps(openapi(), ensure_ascii=False).replace("龙井茶", "</pre><script>alert(1)</script>"))
    assert "<script" not in page(harm)
    assert re.search(r"&lt;script&gt;", page(harm))


# ---- in a real browser -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
async def test_a_browser_shows_the_page_with_its_style_asks_for_nothing_else_and_scrolls_down_alone(
    database_url: str, tmp_path: Path
) -> None:
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with (
        a_front(database_url, tmp_path) as front,
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=chromium(), args=flags) as browser,
    ):
        address = str(front.client.make_url("/docs"))
        for width in (390, 1280):
            asked: list[str] = []
            said: list[str] = []
            page = await browser.new_page(viewport={"width": width, "height": 900})
            page.on("request", lambda request, asked=asked: asked.append(request.url))  # type: ignore[misc]
            page.on("console", lambda message, said=said: said.append(message.text))  # type: ignore[misc]
            await page.goto(address)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide == width, "no line is wider than the screen"
            assert await page.evaluate("getComputedStyle(document.body).margin") == "0px", (
                "the policy lets its style be"
            )
            shown = await page.get_by_role("link", name="/v1/payments.csv").count()
            assert shown == 1
            await page.goto(f"{address}#create_refund")
            assert await page.locator("#create_refund h3").is_visible()
            assert [url for url in asked if not url.startswith((address, "data:"))] == []
            assert said == []
            await page.close()


async def test_a_page_that_could_not_be_made_is_made_for_whoever_asks_next(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def fails_once(routes: Any) -> Any:
        if not failed:
            failed.append(routes)
            raise MemoryError
        return document(routes)

    monkeypatch.setattr(reference, "document", fails_once)
    async with a_front(database_url, tmp_path) as front:
        statuses = []
        for _ in range(2):
            async with front.client.get("/docs") as answer:
                statuses.append(answer.status)
    assert statuses == [500, 200]
