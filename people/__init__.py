"""Who acts: persons, their roles and credentials, and the audit log of what they did."""

from people import store
from people.audit import Audit
from people.people import NewPerson, People
from people.roles import MAY, Act, Role
from people.store import INVARIANTS
from people.tables import AuditRecord, Person

__all__ = ["INVARIANTS", "MAY", "Act", "Audit", "AuditRecord", "NewPerson", "People", "Person", "Role", "store"]
