"""The tokens of users whom a Kerberos ticket names: of a domain, without an account here; and accounts with a PAC.

Which SIDs of a PAC are believed is decided here: those of domains. What is this machine's own to say - its accounts,
its built-in groups, Unix SIDs - no domain controller gives away.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from lamina.core.auth.account import GROUP_PRIVILEGES
from lamina.core.auth.pac import Pac
from lamina.core.identity.identities import DOMAIN_GROUPS, Identities
from lamina.core.identity.name_service import NameServiceError
from lamina.core.identity.settings import DomainSettings
from lamina.ntfsa.security.identities import unix_group_sid, unix_user_sid
from lamina.ntfsa.security.sid import AUTHENTICATED_USERS, BUILTIN_ADMINISTRATORS, BUILTIN_USERS, EVERYONE, NETWORK
from lamina.vfs_modules.token import ImpersonationToken

_EVERY_USER: Final = frozenset({EVERYONE, NETWORK, AUTHENTICATED_USERS, BUILTIN_USERS})
_AUTHORITIES: Final = ("S-1-5-21-", "S-1-18-")
MOST_GROUPS: Final = 65536
"""The kernel takes no more groups of a process (NGROUPS_MAX)."""


class DomainUser(NamedTuple):
    """A user of a domain, whom a ticket names; `pac` is None where it has none."""

    name: str
    domain: DomainSettings
    pac: Pac | None


class SystemIds(NamedTuple):
    """A uid, its gid, and the gids of further groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class NoIdError(LookupError):
    """A user of a domain has no uid or gid here; the message says why, for the administrator."""


def _is_believed(sid: str, machine_sid: str) -> bool:
    return sid.startswith(_AUTHORITIES) and not sid.startswith(f"{machine_sid}-")


def believed_sids(pac: Pac, machine_sid: str) -> frozenset[str]:
    """The SIDs of groups in a PAC that count."""
    return frozenset(sid for sid in pac.group_sids if _is_believed(sid, machine_sid))


def add_pac(token: ImpersonationToken, pac: Pac, identities: Identities) -> ImpersonationToken:
    """The token of an account whose user has come with a PAC: its groups and claims, and himself by another SID."""
    sids = believed_sids(pac, identities.machine_sid)
    himself = {pac.user_sid} if _is_believed(pac.user_sid, identities.machine_sid) else set()
    groups = tuple(dict.fromkeys((*token.groups, *_gids(sids, identities))))[:MOST_GROUPS]
    return replace(
        token,
        group_sids=token.group_sids | sids | himself,
        groups=groups,
        claims={**pac.claims, **token.claims},
    )


def system_ids(user: str, domain: DomainSettings, identities: Identities) -> SystemIds | None:
    """What the name service says of a domain's user, where it is to be asked. Raises NoIdError."""
    if domain.method != "nss":
        return None
    # The name service is asked for one name: what would make another of it is not of a user.
    if not user or set(user) & set("\0\\/"):
        raise NoIdError(f"{user!r} is no name of a user")
    name = domain.user_name.replace("%D", domain.name).replace("%U", user)
    try:
        found = identities.names.user(name)
        if found is None:
            raise NoIdError(f"the name service has no user {name}")
        return SystemIds(found.uid, found.gid, identities.names.groups(found.name, found.gid))
    except NameServiceError as error:
        raise NoIdError(str(error)) from error


def domain_token(
    who: DomainUser, system: SystemIds | None, identities: Identities, substitutions: Mapping[str, str]
) -> ImpersonationToken:
    """The token of a domain's user; `system`: of `system_ids`. Raises NoIdError, or OSError for the file of ids."""
    pac, domain = who.pac, who.domain
    if pac is not None and not _is_believed(pac.user_sid, identities.machine_sid):
        raise NoIdError(f"{pac.user_sid} is no user of a domain")
    uid, gid, groups = system or _mapped_ids(who, identities)
    if not uid:
        raise NoIdError(f"{who.name} would be root here, which no domain makes of anybody")
    if system is not None and pac is not None:
        identities.bind(pac.user_sid, uid, domain)
    sids = set(_EVERY_USER)
    if pac is not None:
        sids |= believed_sids(pac, identities.machine_sid)
        groups = tuple(dict.fromkeys((*groups, *_gids(frozenset(sids), identities))))[:MOST_GROUPS]
        if domain.administrators and f"{domain.sid}-{DOMAIN_GROUPS['domain admins']}" in sids:
            sids.add(BUILTIN_ADMINISTRATORS)
    for number in (gid, *groups):
        sids |= {identities.sid_of_gid(number), unix_group_sid(number)}
    sids |= {identities.sid_of_uid(uid), unix_user_sid(uid)}
    user_sid = pac.user_sid if pac is not None else identities.sid_of_uid(uid)
    return ImpersonationToken(
        user_sid=user_sid,
        group_sids=frozenset(sids - {user_sid}),
        uid=uid,
        gid=gid,
        groups=groups or (gid,),
        privileges=frozenset().union(*(GROUP_PRIVILEGES[sid] for sid in sids & GROUP_PRIVILEGES.keys())),
        claims=pac.claims if pac is not None else {},
        user_name=f"{domain.name}\\{who.name}",
        substitutions=dict(substitutions),
    )


def _mapped_ids(who: DomainUser, identities: Identities) -> SystemIds:
    pac, domain = who.pac, who.domain
    if pac is None:
        raise NoIdError(f"the ticket of {who.name} has no PAC, and {domain.name} maps SIDs (method {domain.method!r})")
    if domain.sid != pac.domain_sid:
        raise NoIdError(f"{pac.user_sid} is not of {domain.name}")
    uid = identities.uid_of_sid(pac.user_sid)
    gid = identities.gid_of_sid(pac.primary_group_sid)
    uid = identities.take_id(pac.user_sid) if uid is None else uid
    gid = identities.take_id(pac.primary_group_sid) if gid is None else gid
    if uid is None or gid is None:
        sid = pac.user_sid if uid is None else pac.primary_group_sid
        raise NoIdError(f"{sid} has no id: {domain.name} has {domain.low}-{domain.high}, from {domain.base_rid} on")
    return SystemIds(uid, gid, ())


def _gids(sids: frozenset[str], identities: Identities) -> list[int]:
    found = []
    for sid in sorted(sids):
        gid = identities.gid_of_sid(sid)
        gid = identities.take_id(sid) if gid is None else gid
        if gid is not None:
            found.append(gid)
    return found
