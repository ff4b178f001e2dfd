"""The database and the stream store of a home: yours if the settings name them, else ours, started or found running."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from ops.settings import Settings

from .errors import CannotStart
from .place import address_of, is_locked, open_home
from .postgres import Postgres, postgres_socket_url, postgres_url
from .server import Server
from .valkey import Valkey, valkey_url


@dataclass(frozen=True, slots=True)
class Servers:
    """Where to connect, and the servers that we started ourselves and must keep running, in that order.

    hub_database_url: for the hub's own processes, which ask it thousands of times a second; a Unix socket costs each
    question less. database_url is for people and their tools.
    """

    database_url: str = field(repr=False)
    hub_database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    own: tuple[Server, ...] = ()


@asynccontextmanager
async def servers(settings: Settings) -> AsyncIterator[Servers]:
    """Give the addresses of both servers for as long as the context lasts.

    A server named in the settings is used as it is. One that another process of this home runs is shared, and ends
    with that process. Otherwise we start our own and stop it at the end.
    Raises CannotStart.
    """
    home = open_home(settings.home)
    own: list[Server] = []
    async with AsyncExitStack() as stack:

        async def started(server: Server) -> str:
            await server.start()
            stack.push_async_callback(server.stop)
            own.append(server)
            return server.url

        if settings.database_url is not None:
            database_url = hub_database_url = settings.database_url.get_secret_value()
        elif is_locked(address_of(home, Postgres.name) / "lock"):
            database_url = _shared("PostgreSQL", postgres_url(home))
            hub_database_url = _shared("PostgreSQL", postgres_socket_url(home))
        else:
            server = Postgres(home, bin_folder=settings.pg_bin, user=settings.server_user)
            database_url = await started(server)
            hub_database_url = server.socket_url
        if settings.redis_url is not None:
            redis_url = settings.redis_url.get_secret_value()
        elif is_locked(address_of(home, Valkey.name) / "lock"):
            redis_url = _shared("Valkey", valkey_url(home))
        else:
            redis_url = await started(Valkey(home, program=settings.valkey_bin, user=settings.server_user))
        yield Servers(database_url, hub_database_url, redis_url, tuple(own))


def _shared(what: str, url: str | None) -> str:
    if url is None:
        raise CannotStart(f"another process is starting {what} of this home for the first time; try again in a moment")
    return url
