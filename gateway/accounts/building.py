"""Settings of a channel account into credentials, and credentials into the channel of its rail; or why not."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from channels.contract import Channel
from channels.settings import PASSED_OVER, absorb, check_addresses
from gateway.accounts.credentials import Credentials
from gateway.accounts.names import meant, no_such_channel
from gateway.accounts.ready import UNUSABLE, Build
from kernel.addresses import AddressRefused
from kernel.env import Env
from kernel.errors import Rejected
from kernel.sealing import Secret, without_secrets


class Building:
    """Builds channels, and says what is wrong without a secret."""

    def __init__(
        self,
        registry: Mapping[str, Build],
        secrets_of: Callable[[str], frozenset[str]],
        settings_of: Callable[[str], frozenset[str]],
        env: Env,
    ) -> None:
        """secrets_of, settings_of: names of a rail's secret settings, and of all its settings."""
        self._registry = registry
        self._secrets_of = secrets_of
        self._settings_of = settings_of
        self._env = env

    def known(self, channel: str) -> None:
        """Make sure that this hub has such a rail. Raises Rejected (no_such_channel)."""
        if channel not in self._registry:
            raise no_such_channel(channel, sorted(self._registry), "channel")

    def parted(self, channel: str, settings: Mapping[str, Any], folder: Path | None) -> Credentials:
        """Part settings into public and secret; what cannot be is refused. Raises Rejected."""
        try:
            public, hidden = absorb(settings, self._secrets_of(channel), folder=folder)
        except ValueError as error:
            raise Rejected(
                "channel_settings_wrong", f"these settings do not make a {channel} account: {error}"
            ) from None
        return Credentials(public, {name: Secret(text) for name, text in hidden.items()})

    def read(self, channel: str, settings: Mapping[str, Any], folder: Path | None) -> Credentials:
        """Part settings, whose addresses must be such as may be called. Raises Rejected."""
        credentials = self.parted(channel, settings, folder)
        try:
            check_addresses(credentials.settings(), self._env.addresses)
        except AddressRefused as refused:
            name = str(refused).partition(":")[0]
            raise Rejected("address_refused", str(refused), param=f"credentials.{name}") from None
        return credentials

    def check_names(self, channel: str, given: Collection[str], read: Collection[str]) -> None:
        """Refuse names of settings that a rail does not read, most likely misspelt.

        read: what it has just been seen to read. Raises Rejected that says what may have been meant.
        """
        known = {*self._settings_of(channel), *read}
        strange = sorted(name for name in given if name not in known | PASSED_OVER)
        if strange:
            raise Rejected(
                "channel_settings_wrong",
                f"a {channel} account has no setting {', '.join(strange)[:200]};{meant(strange[0], sorted(known))} "
                "nothing was changed",
                param=f"credentials.{strange[0][:64]}",
            )

    def built(self, channel: str, credentials: Credentials) -> Channel:
        """Return the channel of these credentials: what makes none is refused. Raises Rejected, without a secret."""
        return self.built_and_read(channel, credentials)[0]

    def built_and_read(self, channel: str, credentials: Credentials) -> tuple[Channel, set[str]]:
        """Return the channel of these credentials, and which settings the rail asked for. Raises as `built` does."""
        self.known(channel)
        noted = _Noted(credentials.settings())
        try:
            return self._registry[channel](noted), noted.asked
        except UNUSABLE as error:
            told = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            why = without_secrets(told, list(credentials.secrets.values()))
        raise Rejected("channel_settings_wrong", f"these settings do not make a {channel} account: {why}")


class _Noted(Mapping[str, Any]):
    """Settings that note which of their names were asked for."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self._settings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)
