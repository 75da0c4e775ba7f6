"""How SIDs and POSIX ids go together, as values; and what in them contradicts itself. Pure.

The application makes them from `[identity]` of its configuration (`core.config.identity_model`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Method = Literal["rid", "allocate", "nss"]

_NO_IDS: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DomainSettings:
    r"""One Windows domain, or one Kerberos realm, whose users log on without an account here.

    `name`: its NetBIOS name. `sid`: the SID that its users and groups are relative to. `realm`: of the principals of
    users whose tickets have no PAC. `method`: "rid", an id is `low` + relative id - `base_rid`; "allocate", the next
    free one from `low` on; "nss", what the name service says of `user_name`, in which %D is the domain and %U the user.
    `low` to `high`, both included, are its ids, for users and groups alike. `administrators`: members of Domain Admins
    administer this server.
    """

    name: str
    sid: str = ""
    realm: str = ""
    method: Method = "rid"
    low: int = 0
    high: int = 0
    base_rid: int = 0
    user_name: str = r"%D\%U"
    administrators: bool = False


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """`users` and `groups`: the uid or gid that a SID has by decree. Times in seconds.

    `name_service`: whether names that no account or group of ours has are asked of the system's name service.
    `timeout`: how long it is waited for; `cache` and `cache_unknown`: how long an answer is believed, and that there is
    none; `cache_entries` bounds the memory. `store`: the file of allocated ids; without one they go with the server.
    """

    domains: tuple[DomainSettings, ...] = ()
    users: Mapping[str, int] = field(default_factory=lambda: _NO_IDS, hash=False)
    groups: Mapping[str, int] = field(default_factory=lambda: _NO_IDS, hash=False)
    name_service: bool = True
    timeout: float = 5.0
    cache: float = 300.0
    cache_unknown: float = 30.0
    cache_entries: int = 10_000
    store: str = ""

    @property
    def maps_something(self) -> bool:
        """Whether there is any SID that the accounts alone know nothing of."""
        return bool(self.domains or self.users or self.groups)


class Conflict(NamedTuple):
    """Two things that cannot both be: where, below `[identity]`, and why, for a person."""

    where: tuple[str, ...]
    message: str


def conflicts(settings: IdentitySettings) -> list[Conflict]:
    """What contradicts itself: an id or a SID with two meanings."""
    return [*_domains(settings.domains), *_decreed("users", settings), *_decreed("groups", settings)]


def _domains(domains: tuple[DomainSettings, ...]) -> Iterator[Conflict]:
    for index, domain in enumerate(domains):
        yield from _one_domain(domain)
        for other in domains[:index]:
            if _has_range(domain) and _has_range(other) and domain.low <= other.high and other.low <= domain.high:
                shared = f"{max(domain.low, other.low)}-{min(domain.high, other.high)}"
                why = f"the ids {shared} are in the range of {other.name} ({other.low}-{other.high}), too"
                yield Conflict(("domain", domain.name, "range"), why)
            for key in ("sid", "realm"):
                value = getattr(domain, key).lower()
                if value and value == getattr(other, key).lower():
                    yield Conflict(("domain", domain.name, key), f"is the {key} of {other.name}, too")


def _has_range(domain: DomainSettings) -> bool:
    return domain.method != "nss"


def _one_domain(domain: DomainSettings) -> Iterator[Conflict]:
    where = ("domain", domain.name)
    if _has_range(domain):
        if not domain.sid:
            yield Conflict((*where, "sid"), f'method = "{domain.method}" needs the SID of the domain')
        if not 0 < domain.low <= domain.high:
            yield Conflict((*where, "range"), f'method = "{domain.method}" needs a range, such as "100000-199999"')
    elif not (domain.sid or domain.realm):
        yield Conflict(where, "needs the SID of the domain, or its realm")


def _decreed(kind: Literal["users", "groups"], settings: IdentitySettings) -> Iterator[Conflict]:
    seen: dict[int, str] = {}
    for sid, number in getattr(settings, kind).items():
        if number in seen:
            yield Conflict((kind, sid), f"{number} is {seen[number]} already")
        seen.setdefault(number, sid)
        for domain in settings.domains:
            if _has_range(domain) and domain.low <= number <= domain.high:
                why = f"{number} is in the range of {domain.name} ({domain.low}-{domain.high})"
                yield Conflict((kind, sid), why)
