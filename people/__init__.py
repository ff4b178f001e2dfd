"""Who acts: persons, their roles and credentials, what takes two of them, and the audit log of what they did."""

from people import store
from people.approval import Approvals, Use, What, approved, use_up
from people.audit import Audit
from people.people import NewPerson, People
from people.roles import MAY, Act, Role
from people.store import INVARIANTS
from people.tables import Approval, AuditRecord, Person

__all__ = [
    "INVARIANTS",
    "MAY",
    "Act",
    "Approval",
    "Approvals",
    "Audit",
    "AuditRecord",
    "NewPerson",
    "People",
    "Person",
    "Role",
    "Use",
    "What",
    "approved",
    "store",
    "use_up",
]
