"""What the load generators read of HTTP: one whole answer at the front of what a connection has received."""


def first_of(received: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the first answer's status, head in small letters, and body; None where it has not come whole.

    Only answers with a Content-Length, or without a body, are known: the hub gives no others.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower()
    at = head.find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    if len(received) < end + 4 + length:
        return None
    return int(head[9:12]), head, received[end + 4 : end + 4 + length]
