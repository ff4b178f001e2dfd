"""Bank files for tests, written by hand from the message definitions: no code of the reader takes part."""

NS = "urn:iso:std:iso:20022:tech:xsd:"


def entry(
    ref: str,
    amount: str,
    *,
    credit: bool,
    end_to_end_id: str | None = None,
    currency: str = "CNY",
    status: str = "BOOK",
    extra: str = "",
    day: str = "2026-11-24",
) -> str:
    e2e = "" if end_to_end_id is None else f"<EndToEndId>{end_to_end_id}</EndToEndId>"
    direction = "CRDT" if credit else "DBIT"
    side = "Dbtr" if credit else "Cdtr"
    return (
        f'<Ntry><NtryRef>N-{ref}</NtryRef><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>'
        f"<Sts><Cd>{status}</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>{ref}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd>"
        f"</Fmly></Domn></BkTxCd><NtryDtls><TxDtls><Refs><AcctSvcrRef>{ref}</AcctSvcrRef>{e2e}</Refs>"
        f"<RltdPties><{side}><Pty><Nm>对方 &amp; Co</Nm></Pty></{side}><{side}Acct><Id><Othr><Id>62001</Id></Othr></Id>"
        f"</{side}Acct></RltdPties><RmtInf><Ustrd>for </Ustrd><Ustrd>rent</Ustrd></RmtInf>{extra}"
        "</TxDtls></NtryDtls></Ntry>"
    )


def balance(code: str, amount: str, *, credit: bool = True, currency: str = "CNY", day: str = "2026-11-24") -> str:
    direction = "CRDT" if credit else "DBIT"
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="{currency}">{amount}</Amt>'
        f"<CdtDbtInd>{direction}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def statement(
    account: str, opening: str, closing: str, *entries: str, currency: str = "CNY", day: str = "2026-11-24"
) -> str:
    return (
        f"<Stmt><Id>S-{account}-{day}</Id><CreDtTm>{day}T23:59:59Z</CreDtTm><Acct><Id><Othr><Id>{account}</Id></Othr></Id>"
        f"<Ccy>{currency}</Ccy></Acct>{balance('OPBD', opening, currency=currency, day=day)}"
        f"{balance('CLBD', closing, currency=currency, day=day)}{''.join(entries)}</Stmt>"
    )


def camt053(*statements: str, namespace: str = NS + "camt.053.001.08", page: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="{namespace}"><BkToCstmrStmt><GrpHdr><MsgId>M1</MsgId>'
        f"<CreDtTm>2026-11-25T00:00:01Z</CreDtTm>{page}</GrpHdr>{''.join(statements)}</BkToCstmrStmt></Document>"
    ).encode()


def camt054(account: str, *entries: str, currency: str = "CNY") -> bytes:
    return (
        f'<Document xmlns="{NS}camt.054.001.08"><BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>M2</MsgId>'
        f"<CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><Ntfctn><Id>N1</Id><CreDtTm>2026-11-24T10:00:00Z</CreDtTm>"
        f"<Acct><Id><Othr><Id>{account}</Id></Othr></Id><Ccy>{currency}</Ccy></Acct>{''.join(entries)}"
        f"</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    ).encode()


def why(*reasons: str) -> str:
    """Return StsRsnInf of each reason: a code, one of the bank's own as "own:WORD"; after "|" words about it."""
    parts = []
    for reason in reasons:
        code, _, text = reason.partition("|")
        own = code.removeprefix("own:")
        tag = "Cd" if own == code else "Prtry"
        told = f"<AddtlInf>{text}</AddtlInf>" if text else ""
        parts.append(f"<StsRsnInf><Rsn><{tag}>{own}</{tag}></Rsn>{told}</StsRsnInf>")
    return "".join(parts)


def report_line(end_to_end_id: str, status: str, *reasons: str) -> str:
    return (
        f"<TxInfAndSts><OrgnlEndToEndId>{end_to_end_id}</OrgnlEndToEndId><TxSts>{status}</TxSts>{why(*reasons)}"
        f"</TxInfAndSts>"
    )


def report_block(*lines: str, status: str | None = None, reasons: tuple[str, ...] = (), ident: str = "B1") -> str:
    """Return one OrgnlPmtInfAndSts."""
    said = "" if status is None else f"<PmtInfSts>{status}</PmtInfSts>"
    return (
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{ident}</OrgnlPmtInfId>{said}{why(*reasons)}{''.join(lines)}"
        f"</OrgnlPmtInfAndSts>"
    )


def pain002(
    group: str | None,
    *lines: str,
    reason: str | tuple[str, ...] | None = None,
    name: str = "pain.001.001.09",
    blocks: tuple[str, ...] = (),
    of: str = "B1",
) -> bytes:
    """Return a report; `lines` stand in one payment information without a status of its own, `blocks` as they are."""
    reasons = (reason,) if isinstance(reason, str) else reason or ()
    said = "" if group is None else f"<GrpSts>{group}</GrpSts>"
    block = (report_block(*lines, ident=of) if lines else "") + "".join(blocks)
    return (
        f'<Document xmlns="{NS}pain.002.001.10"><CstmrPmtStsRpt><GrpHdr><MsgId>R1</MsgId>'
        f"<CreDtTm>2026-11-24T10:00:00Z</CreDtTm></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>{of}</OrgnlMsgId>"
        f"<OrgnlMsgNmId>{name}</OrgnlMsgNmId>{said}{why(*reasons)}</OrgnlGrpInfAndSts>{block}"
        f"</CstmrPmtStsRpt></Document>"
    ).encode()
