"""The brake on guessing passwords: failures are counted per client address and per account name.

A pure table with the clock handed in: it says how long to wait and when to refuse, and waits for nothing itself.
Unknown names are counted like known ones, so that nothing about an account can be told from it.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from lamina.core.auth.settings import ThrottleSettings


class _Failures:
    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0


def address_key(address: str) -> str:
    """What an address is counted under: an IPv6 client has a whole /64 to change its address in."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 64), strict=False).network_address)
    return str(ip)


class Throttle:
    """Failures by address and account, no more than `settings.entries` of each: the longest unused is forgotten."""

    def __init__(self, settings: ThrottleSettings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()
        self._accounts: OrderedDict[str, _Failures] = OrderedDict()
        self.tell: Callable[[str, str, bool], None] = lambda _address, _account, _succeeded: None
        """Told of attempts, for the throttles of other workers to `hear` of them."""

    def hear(self, address: str, account: str, succeeded: bool) -> None:
        """Count an attempt that was made elsewhere."""
        if succeeded:
            self._forget(address, account)
        else:
            self._add(self._addresses, address_key(address))
            self._add(self._accounts, account.lower())

    def refuses(self, address: str, account: str) -> bool:
        """Whether an attempt must be refused unseen. Refused ones do not count, so the refusal ends by itself."""
        settings = self._settings
        if not settings.enabled:
            return False
        return (
            self._count(self._addresses, address_key(address)) >= settings.address_failures
            or self._count(self._accounts, account.lower()) >= settings.account_failures
        )

    def failed(self, address: str, account: str) -> float:
        """Count a failure; the seconds after which it may be answered."""
        settings = self._settings
        if not settings.enabled:
            return 0.0
        count = max(self._add(self._addresses, address_key(address)), self._add(self._accounts, account.lower()))
        self.tell(address, account, False)
        return min(settings.longest_delay, settings.first_delay * 2.0 ** min(count - 1, 32))

    def succeeded(self, address: str, account: str) -> None:
        """Forget the failures of both."""
        if self._forget(address, account):
            self.tell(address, account, True)

    def _forget(self, address: str, account: str) -> bool:
        of_address = self._addresses.pop(address_key(address), None)
        of_account = self._accounts.pop(account.lower(), None)
        return of_address is not None or of_account is not None

    def _count(self, table: OrderedDict[str, _Failures], key: str) -> int:
        entry = table.get(key)
        if entry is None:
            return 0
        if self._clock() - entry.last >= self._settings.window:
            del table[key]
            return 0
        return entry.count

    def _add(self, table: OrderedDict[str, _Failures], key: str) -> int:
        if self._count(table, key) == 0:
            table[key] = _Failures()
        entry = table[key]
        entry.count += 1
        entry.last = self._clock()
        table.move_to_end(key)
        if len(table) > self._settings.entries:
            table.popitem(last=False)
        return entry.count
