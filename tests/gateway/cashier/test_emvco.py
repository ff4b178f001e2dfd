"""Merchants' payment codes: the standard's samples, every refusal, and that what is built reads back as it was."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cashier.emvco import BadCode, Local, PaymentCode, Tip, TipKind, build, checksum, described, parse
from kernel.money import Money

# The standard's own sample with Chinese text: its lengths count characters, its checksum is over bytes.
CHINESE = (
    "00020101021229300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN5914BEST TRANSPORT"
    "6007BEIJING64200002ZH0104最佳运输0202北京540523.7253031565502016233030412340603***0708A60086670902ME91320016A011"
    "2233449988770708123456786304A13A"
)
SAID = PaymentCode(
    name="BEST TRANSPORT",
    city="BEIJING",
    currency="CNY",
    mcc="4111",
    accounts={"29": {"00": "D15600000000", "05": "A93FO3230Q"}, "31": {"00": "D15600000001", "03": "12345678"}},
    country="CN",
    dynamic=True,
    amount=Money(2372, "CNY"),
    tip=Tip(TipKind.ASKED),
    additional={"03": "1234", "06": "***", "07": "A6008667", "09": "ME"},
    local=Local("ZH", "最佳运输", "北京"),
    templates={"91": {"00": "A011223344998877", "07": "12345678"}},
)
PLAIN = PaymentCode(name="TEA", city="KUNMING", currency="CNY", mcc="5499", accounts={"15": "8600123456789012"})


def sealed(text: str) -> str:
    """Return the text with a right checksum."""
    return f"{text}6304" + checksum(f"{text}6304")


def refusal(text: str) -> str:
    with pytest.raises(BadCode) as refused:
        parse(text)
    assert refused.value.message
    return refused.value.code


def test_the_standards_chinese_sample_reads_as_it_says() -> None:
    assert parse(CHINESE) == SAID


def test_the_checksum_is_over_utf8_bytes() -> None:
    assert checksum(CHINESE[:-4]) == "A13A"
    assert checksum("123456789") == "29B1", "the check value of CRC-16/CCITT-FALSE"


def test_what_is_built_reads_back_and_stands_in_the_order_of_the_ids() -> None:
    text = build(SAID)
    assert parse(text) == SAID
    assert text.startswith("000201010212")
    assert text == sealed(text[:-8])
    assert build(parse(text)) == text


def test_the_smallest_code_is_written_like_this() -> None:
    body = "00020115168600123456789012520454995303156580" + "2CN5903TEA6007KUNMING"
    assert build(PLAIN) == sealed(body)
    assert parse(build(PLAIN)) == PLAIN


def test_the_order_of_the_fields_between_the_first_and_the_last_is_free() -> None:
    fields = ["5907KUNMING", "52045499", "5303156", "5802CN", "6003TEA", "15168600123456789012"]
    for turned in (fields, fields[::-1], fields[3:] + fields[:3]):
        assert parse(sealed("000201" + "".join(turned))) == replace(PLAIN, name="KUNMING", city="TEA")


# ---- refused -------------------------------------------------------------------------------------------------------

BODY = build(PLAIN)[:-8]
REFUSED: list[tuple[str, str, str]] = [
    ("nothing", "", "not_a_code"),
    ("a word", "hello", "not_a_code"),
    ("an address", "https://pay.example/x", "not_a_code"),
    ("another version", sealed(BODY.replace("000201", "000202", 1)), "not_a_code"),
    ("no version", sealed(BODY.removeprefix("000201")), "not_a_code"),
    ("the version not first", sealed("010211" + BODY), "not_a_code"),
    ("no checksum", BODY, "no_checksum"),
    ("checksum not last", build(PLAIN) + "6203abc"[:4] + "abc", "no_checksum"),
    ("checksum in small letters", BODY + "6304" + checksum(BODY + "6304").lower(), "no_checksum"),
    ("checksum too short", BODY + "6303" + checksum(BODY + "6303")[:3], "no_checksum"),
    ("checksum twice", build(PLAIN) + "6304ABCD", "repeated"),
    ("wrong checksum", BODY + "63040000", "wrong_checksum"),
    ("a letter changed", build(PLAIN).replace("TEA", "TEE"), "wrong_checksum"),
    ("a field twice", sealed(BODY + "5903TEA"), "repeated"),
    ("a template's field twice", sealed(BODY + "26120002AB0002CD"), "repeated"),
    ("an additional field twice", sealed(BODY + "62100101A0101B"), "repeated"),
    ("a length past the end", BODY + "6399" + "ABCD", "truncated"),
    ("a template's length past its end", sealed(BODY + "26060005AB"), "truncated"),
    ("half a field", sealed(BODY) + "6", "not_a_code"),
    ("an id of letters", sealed(BODY + "AB03abc"), "not_a_code"),
    ("digits of another script", sealed(BODY + "６203abc"), "not_a_code"),
    ("an empty field", sealed(BODY + "6100"), "bad_value"),
    ("no merchant", sealed(BODY.replace("15168600123456789012", "")), "missing"),
    ("no category", sealed(BODY.replace("52045499", "")), "missing"),
    ("no currency", sealed(BODY.replace("5303156", "")), "missing"),
    ("no country", sealed(BODY.replace("5802CN", "")), "missing"),
    ("no name", sealed(BODY.replace("5903TEA", "")), "missing"),
    ("no city", sealed(BODY.replace("6007KUNMING", "")), "missing"),
    ("a template of nobody's", sealed(BODY + "26060102AB"), "missing"),
    ("an unreserved template of nobody's", sealed(BODY + "80060102AB"), "missing"),
    ("neither static nor dynamic", sealed(BODY + "010213"), "bad_value"),
    ("a category of letters", sealed(BODY.replace("52045499", "5204ABCD")), "bad_value"),
    ("a category too short", sealed(BODY.replace("52045499", "5203549")), "bad_value"),
    ("a currency that is none", sealed(BODY.replace("5303156", "5303001")), "bad_value"),
    ("a currency nobody is paid in", sealed(BODY.replace("5303156", "5303959")), "bad_value"),
    ("a country in small letters", sealed(BODY.replace("5802CN", "5802cn")), "bad_value"),
    ("a name too long", sealed(BODY.replace("5903TEA", "5926" + "T" * 26)), "bad_value"),
    ("a city too long", sealed(BODY.replace("6007KUNMING", "6016" + "K" * 16)), "bad_value"),
    ("a postcode too long", sealed(BODY + "611112345678901"), "bad_value"),
    ("an amount too long", sealed(BODY + "541412345678901.23"), "bad_value"),
    ("an amount of letters", sealed(BODY + "5403abc"), "bad_value"),
    ("an amount with a comma", sealed(BODY + "54041,23"), "bad_value"),
    ("an amount with two points", sealed(BODY + "54051.2.3"), "bad_value"),
    ("an amount of a point", sealed(BODY + "5401."), "bad_value"),
    ("an amount of nothing with a point", sealed(BODY + "54020."), "bad_value"),
    ("an amount with a point at either end", sealed(BODY + "5403.1."), "bad_value"),
    ("no percent at all with a point", sealed(BODY + "550203" + "57020."), "bad_value"),
    ("a percentage that begins with a point", sealed(BODY + "550203" + "5702.5"), "bad_value"),
    ("a hundred percent with a point", sealed(BODY + "550203" + "5704100."), "bad_value"),
    ("an amount that begins with a point", sealed(BODY + "5403.12"), "bad_value"),
    ("an amount below nothing", sealed(BODY + "5404-1.0"), "bad_value"),
    ("an amount of nothing", sealed(BODY + "54040.00"), "bad_value"),
    ("an amount finer than the currency", sealed(BODY + "54051.234"), "bad_value"),
    ("a tip of no kind", sealed(BODY + "550204"), "bad_value"),
    ("a fixed tip without its amount", sealed(BODY + "550202"), "bad_value"),
    ("a tip in percent without its percentage", sealed(BODY + "550203"), "bad_value"),
    ("a fixed tip where the payer is asked", sealed(BODY + "55020156041.00"), "bad_value"),
    ("an amount of a tip without a tip", sealed(BODY + "56041.00"), "bad_value"),
    ("both kinds of tip", sealed(BODY + "55020256041.0057043.50"), "bad_value"),
    ("no percent at all", sealed(BODY + "550203" + "57040.00"), "bad_value"),
    ("a hundred percent", sealed(BODY + "550203" + "5703100"), "bad_value"),
    ("percent in letters", sealed(BODY + "550203" + "5702x%"), "bad_value"),
    ("an additional field too long", sealed(BODY + "62300126" + "A" * 26), "bad_value"),
    ("a wish nobody knows", sealed(BODY + "62060902AX"), "bad_value"),
    ("the same wish twice", sealed(BODY + "62060902AA"), "bad_value"),
    ("no language", sealed(BODY + "64080104茶叶茶叶"), "missing"),
    ("no local name", sealed(BODY + "64060002ZH"), "missing"),
    ("a language of digits", sealed(BODY + "6412000212" + "0102茶叶"), "bad_value"),
    ("a local name too long", sealed(BODY + "64360002ZH0126" + "茶" * 26), "bad_value"),
    ("an identifier too long", sealed(BODY + "26370033" + "A" * 33), "bad_value"),
    ("a character that does not show", sealed(BODY.replace("TEA", "T\x00A")), "bad_character"),
    ("a line end", sealed(BODY) + "\n", "bad_character"),
    ("a mark that turns the writing round", sealed(BODY.replace("TEA", "T\u202eA")), "bad_character"),
    ("half a character", sealed(BODY[:-1]) + "\ud800", "bad_character"),
    ("more than any QR code holds", "0" * 3000, "too_long"),
]


@pytest.mark.parametrize(("what", "text", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_no_code_or_has_two_meanings_is_refused(what: str, text: str, code: str) -> None:
    assert refusal(text) == code


@pytest.mark.parametrize(
    ("currency", "written", "minor"),
    [
        ("156", "98.73", 9873),
        ("156", "98", 9800),
        ("156", "98.", 9800),
        ("156", "98.7", 9870),
        ("156", "0.5", 50),
        ("156", "00.5", 50),
        ("392", "98", 98),
        ("392", "98.", 98),
        ("414", "98.735", 98735),
        ("414", "98.", 98000),
    ],
)
def test_an_amount_may_have_a_point_without_decimals(currency: str, written: str, minor: int) -> None:
    body = BODY.replace("5303156", f"5303{currency}")
    tip = f"55020256{len(written):02d}{written}"
    code = parse(sealed(f"{body}54{len(written):02d}{written}{tip}"))
    assert code.amount is not None
    assert code.amount.minor == minor
    assert code.tip == Tip(TipKind.FIXED, fixed=code.amount)
    assert parse(build(code)) == code


def test_a_code_of_98_point_is_98_dollars() -> None:
    text = (
        "00020101021226280015com.example.pay0105M0001520454115303840540398.5802US5911Corner shop6011Springfield6304E36A"
    )
    assert parse(text).amount == Money(9800, "USD")


@pytest.mark.parametrize(
    ("written", "points"), [("3", 300), ("3.", 300), ("5.", 500), ("3.5", 350), ("11.95", 1195), ("03.50", 350)]
)
def test_a_percentage_may_have_a_point_without_decimals(written: str, points: int) -> None:
    code = parse(sealed(f"{BODY}55020357{len(written):02d}{written}"))
    assert code.tip == Tip(TipKind.PERCENT, percent_bp=points)
    assert parse(build(code)) == code


def test_every_single_wrong_character_is_noticed() -> None:
    text = build(SAID)
    for place in range(len(text)):
        for wrong in "0A茶":
            if text[place] != wrong:
                with pytest.raises(BadCode):
                    parse(text[:place] + wrong + text[place + 1 :])


def test_every_cut_is_noticed() -> None:
    for length in range(len(CHINESE)):
        with pytest.raises(BadCode):
            parse(CHINESE[:length])


@given(st.text(max_size=120))
def test_no_text_whatever_makes_the_reader_stumble(text: str) -> None:
    for tried in (text, sealed(f"000201{text}") if text.isascii() else text):
        try:
            parse(tried)
        except BadCode as bad:
            assert bad.code  # noqa: PT017


# ---- what may not be built -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "茶叶"},
        {"city": "昆明"},
        {"name": ""},
        {"name": "T" * 26},
        {"name": "T\nA"},
        {"mcc": "549"},
        {"currency": "ABC"},
        {"currency": "XAU"},
        {"country": "China"},
        {"accounts": {}},
        {"accounts": {"52": "1"}},
        {"accounts": {"26": "text"}},
        {"accounts": {"15": {"00": "A"}}},
        {"accounts": {"x": "1"}},
        {"accounts": {"26": {"01": "A"}}},
        {"accounts": {"15": "8" * 100}},
        {"amount": Money(0, "CNY")},
        {"amount": Money(-1, "CNY")},
        {"amount": Money(100, "USD")},
        {"amount": Money(10**13, "CNY")},
        {"tip": Tip(TipKind.FIXED)},
        {"tip": Tip(TipKind.ASKED, percent_bp=100)},
        {"tip": Tip(TipKind.PERCENT, percent_bp=10_000)},
        {"tip": Tip(TipKind.FIXED, fixed=Money(100, "USD"))},
        {"postcode": ""},
        {"additional": {"01": "A" * 26}},
        {"additional": {"09": "X"}},
        {"local": Local("ZHO", "茶")},
        {"local": Local("ZH", "")},
        {"templates": {"79": {"00": "A"}}},
        {"templates": {"80": {"01": "A"}}},
        {"others": {"80": "A"}},
        {"others": {"53": "156"}},
        {"additional": {f"{number}": "A" * 25 for number in range(20, 24)}},
        {"templates": {f"{number}": {"00": "A" * 30, "01": "B" * 50} for number in range(80, 90)}},
    ],
)
def test_what_would_not_be_read_back_is_not_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadCode):
        build(replace(PLAIN, **wrong))


# ---- round trips -----------------------------------------------------------------------------------------------------

ascii_text = st.characters(min_codepoint=32, max_codepoint=126)
any_text = st.characters(categories=("L", "N", "P", "S", "Zs"))


def texts(most: int, letters: st.SearchStrategy[str] = any_text) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=1, max_size=most)


def numbers(first: int, last: int) -> st.SearchStrategy[str]:
    return st.integers(first, last).map(lambda number: f"{number:02d}")


def templates() -> st.SearchStrategy[dict[str, str]]:
    rest = st.dictionaries(numbers(1, 99), texts(10), max_size=2)
    return st.tuples(texts(32), rest).map(lambda made: {"00": made[0], **made[1]})


def money(currency: str) -> st.SearchStrategy[Money]:
    return st.integers(1, 10**9).map(lambda minor: Money(minor, currency))


@st.composite
def codes(draw: Callable[[st.SearchStrategy[Any]], Any]) -> PaymentCode:
    currency = draw(st.sampled_from(["CNY", "USD", "JPY", "KWD", "HKD"]))
    schemes = draw(st.dictionaries(numbers(2, 25), texts(20), max_size=2))
    others = draw(st.dictionaries(numbers(26, 51), templates(), max_size=1 if schemes else 2))
    tips = st.one_of(
        st.none(),
        st.just(Tip(TipKind.ASKED)),
        money(currency).map(lambda fixed: Tip(TipKind.FIXED, fixed=fixed)),
        st.integers(1, 9999).map(lambda bp: Tip(TipKind.PERCENT, percent_bp=bp)),
    )
    return PaymentCode(
        name=draw(texts(25, ascii_text)),
        city=draw(texts(15, ascii_text)),
        currency=currency,
        mcc=draw(st.integers(0, 9999).map(lambda mcc: f"{mcc:04d}")),
        accounts=schemes | others or {"15": "1"},
        country=draw(st.sampled_from(["CN", "HK", "US"])),
        dynamic=draw(st.none() | st.booleans()),
        amount=draw(st.none() | money(currency)),
        tip=draw(tips),
        postcode=draw(st.none() | texts(10)),
        additional=draw(st.dictionaries(numbers(1, 8), texts(9), max_size=3)),
        local=draw(st.none() | st.builds(Local, st.sampled_from(["ZH", "ja"]), texts(25), st.none() | texts(15))),
        templates=draw(st.dictionaries(numbers(80, 99), templates(), max_size=1)),
        others=draw(st.dictionaries(numbers(65, 79), texts(9), max_size=1)),
    )


@settings(max_examples=50)
@given(codes())
def test_whatever_is_built_reads_back_as_it_was(code: PaymentCode) -> None:
    text = build(code)
    assert parse(text) == code
    assert build(parse(text)) == text
    assert described(code)["currency"] == code.currency


@settings(max_examples=50)
@given(codes(), st.data())
def test_no_two_letters_of_a_code_may_change_places_unnoticed(code: PaymentCode, data: st.DataObject) -> None:
    """The sum finds whatever lies within 16 bits; of two characters of several bytes each it can promise less."""
    text = build(code)
    neighbours = [place for place in range(len(text) - 1) if text[place : place + 2].isascii()]
    place = data.draw(st.sampled_from(neighbours))
    turned = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if turned != text:
        with pytest.raises(BadCode):
            parse(turned)
