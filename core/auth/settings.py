"""Settings of authentication; the application makes them from its configuration."""

from dataclasses import dataclass, field

from lamina.core.identity.settings import IdentitySettings


@dataclass(frozen=True, slots=True)
class ThrottleSettings:
    """How guessing is slowed down and stopped. Times in seconds.

    A failed attempt is answered after `first_delay`, doubled for each further one, at most `longest_delay`.
    After `address_failures` of one address, or `account_failures` for one account, no further attempt is looked at
    until `window` seconds after the last failure. The account's number is the larger one, so that a guesser is
    stopped before he can lock anybody out. `entries` bounds the memory: so many addresses and accounts are remembered.
    """

    enabled: bool = True
    first_delay: float = 0.5
    longest_delay: float = 8.0
    address_failures: int = 10
    account_failures: int = 30
    window: float = 300.0
    entries: int = 10_000


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """What clients may log on with.

    `server_name`: NetBIOS name, told to NTLM clients. `domain`: NetBIOS domain; of a stand-alone server its own name,
    which is meant if it is empty. `dns_name`: fully qualified host name; `server_name` in lower case if empty.
    `allow_anonymous`: admit a logon without a user. `allow_guest`: admit unknown users as guests, never a known one
    with a wrong password. `guest_account`: the account whose identity guests and anonymous users act with; without
    one it is the system's nobody. `keytab`: path of the keytab of cifs/<host>, which turns Kerberos on, or several with
    colons between them. `realm`: the realm whose principals are accounts by their name alone. `allow_ntlm`: whether
    passwords are taken beside tickets. `identity`: how SIDs and POSIX ids go together.
    """

    server_name: str = "LAMINA"
    domain: str = ""
    dns_name: str = ""
    allow_anonymous: bool = False
    allow_guest: bool = False
    guest_account: str = ""
    keytab: str = ""
    realm: str = ""
    allow_ntlm: bool = True
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    throttle: ThrottleSettings = field(default_factory=ThrottleSettings)
