"""What keeps us from the database, in words for whoever can mend it."""

import asyncpg

from kernel.db import APP_ROLE, LOST
from kernel.outage import said
from ops.supervisor import without_password


class DatabaseUnusable(Exception):
    """The database cannot be worked with; the message says why, and what to do."""


# What an attempt to open a pool may end with; asyncpg lets a wrong address out as a ValueError.
CANNOT_CONNECT = (*LOST, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)


def unusable(error: BaseException, url: str) -> DatabaseUnusable:
    """Return what an attempt to connect to `url` failed with, as something to act on; the password is not in it."""
    where = without_password(url)
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            why = "refuses the user or the password; check SLUICE_DATABASE_URL, or at the passwords of this home"
        case asyncpg.InvalidCatalogNameError():
            why = "has no database of that name; make it with createdb, then run `sluice migrate`"
        case asyncpg.TooManyConnectionsError():
            why = "accepts no more connections; end some, or raise max_connections"
        case asyncpg.InsufficientPrivilegeError():
            why = f"does not let this user act as {APP_ROLE}; run `sluice migrate` as the owner of the tables"
        case asyncpg.PostgresError() if APP_ROLE in str(error):
            why = f"has no role {APP_ROLE} yet; run `sluice migrate`"
        case asyncpg.PostgresError() | asyncpg.InterfaceError() | ValueError():
            why = f"cannot be used: {said(error)}"
        case _:
            why = f"does not answer ({said(error)}); is it running, and is the address right?"
    return DatabaseUnusable(f"the database at {where} {why}")
