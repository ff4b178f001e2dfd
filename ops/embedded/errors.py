"""What stops a server of our own from starting, said to a person."""


class CannotStart(RuntimeError):
    """A server was not started; the message says why and what to do about it."""


class AlreadyRunning(CannotStart):
    """Somebody else runs the server of this home; two owners would fight over one data directory."""
