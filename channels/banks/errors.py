"""What of a bank's is damaged, or not what it should be."""


class BadStatement(Exception):
    """A file or an answer is damaged or not what it should be. All of it is refused.

    code: stable. message: for people. content: the bytes that came, where they came and are not to be believed.
    """

    def __init__(self, code: str, message: str, content: bytes | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.content = content
