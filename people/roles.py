"""What a person may do, and to what of another's a person may agree: two tables, role × act."""

from collections.abc import Mapping
from enum import StrEnum

from kernel.errors import Rejected


class Role(StrEnum):
    OPERATOR = "operator"  # runs the hub 运营
    CLERK = "clerk"  # works on cases, settlement and reconciliation 财务
    AUDITOR = "auditor"  # reads, and changes nothing 审计
    STAFF = "staff"  # of one merchant 商户员工


class Act(StrEnum):
    """What a command that changes something does, as far as roles tell commands apart."""

    PEOPLE = "people"  # add, suspend and resume persons
    MERCHANTS = "merchants"  # take merchants on, resume them, make their keys
    STOP = "stop"  # suspend a merchant, revoke a key, drain an account: nothing new begins
    CHANNELS = "channels"  # channel accounts and banks: credentials, terms, states
    RAIL = "rail"  # call a rail by hand with a merchant's account
    ROUTING = "routing"  # routing policies
    CASES = "cases"  # decide cases
    CLOSING = "closing"  # settle and reconcile a business date
    LINKS = "links"  # payment links and standing codes
    SCHEMA = "schema"  # bring the database to the schema of new code
    APPROVALS = "approvals"  # agree to, refuse or withdraw what another has asked for; CHECKS says what


MAY: Mapping[Role, frozenset[Act]] = {
    Role.OPERATOR: frozenset(Act),
    Role.CLERK: frozenset({Act.CASES, Act.CLOSING, Act.LINKS, Act.APPROVALS}),
    Role.AUDITOR: frozenset(),
    Role.STAFF: frozenset({Act.LINKS}),  # of their own merchant alone
}

# To what of another's a person may agree: the second of two people 复核.
CHECKS: Mapping[Role, frozenset[Act]] = {
    Role.OPERATOR: frozenset({Act.PEOPLE, Act.MERCHANTS, Act.CHANNELS, Act.RAIL, Act.CASES, Act.CLOSING}),
    Role.CLERK: frozenset({Act.CASES, Act.CLOSING}),
    Role.AUDITOR: frozenset(),
    Role.STAFF: frozenset(),
}


def checkers(act: Act) -> list[Role]:
    """Return the roles that may agree to acts of this kind."""
    return [role for role in Role if act in CHECKS[role]]


def require_check(person: str, role: Role, act: Act) -> None:
    """Raise Rejected (role_forbids) unless the role may agree to this."""
    if act not in CHECKS[role]:
        able = ", ".join(checkers(act))
        raise Rejected(
            "role_forbids", f"{person} is {role}, and may not agree to this ({act}); may: {able}", person=person
        )


def require(person: str, role: Role, act: Act) -> None:
    """Raise Rejected (role_forbids) unless the role may do this."""
    if act not in MAY[role]:
        able = ", ".join(one for one in Role if act in MAY[one])
        raise Rejected("role_forbids", f"{person} is {role}, and may not do this ({act}); may: {able}", person=person)
