"""`sluice proof rotate`: what takes two people of the certificates of business dates."""

from ops.people import Acting
from people import Act, What


async def rotate_as(acting: Acting) -> tuple[str | None, str]:
    """Have certificates signed with a new key as the person who acts, with another's approval.

    Returns the names of the key that was signed with before, if any, and of the new one. Who agrees, agrees that this
    one key is replaced, once. Raises what CertificateKeys.rotate and Acting.second raise.
    """
    keys = acting.hub.certificate_keys
    before = await keys.newest()
    use = await acting.second(What(Act.CHANNELS, "proof rotate", "certificates", {"replaces": before or ""}))
    return before, await keys.rotate(use=use)
