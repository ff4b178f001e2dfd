"""Real servers for one machine, nothing installed: PostgreSQL and Valkey from Python wheels, as our own children."""

from .errors import AlreadyRunning, CannotStart
from .postgres import Postgres, postgres, postgres_socket_url, postgres_url
from .server import Server
from .servers import Servers, servers
from .valkey import Valkey, valkey, valkey_url

__all__ = [
    "AlreadyRunning",
    "CannotStart",
    "Postgres",
    "Server",
    "Servers",
    "Valkey",
    "postgres",
    "postgres_socket_url",
    "postgres_url",
    "servers",
    "valkey",
    "valkey_url",
]
