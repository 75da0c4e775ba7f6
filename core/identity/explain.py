"""Why somebody is who he is here: the map between SIDs and ids in words, for `lamina id` and `lamina check`."""

from collections.abc import Iterator
from contextlib import suppress

from lamina.core.identity.identities import Identities
from lamina.core.identity.name_service import NameServiceError
from lamina.core.identity.settings import DomainSettings, IdentitySettings
from lamina.ntfsa.security.sid import pack_sid
from lamina.ntfsa.status import NtStatusError


def explain(identities: Identities, who: str) -> list[str]:
    """What a name, a SID or a number stands for, one line each. Raises LookupError where it is nobody."""
    if who.upper().startswith("S-1-"):
        return _explain_sid(identities, who.upper())
    if who.isascii() and who.isdigit():
        return [*_explain_number(identities, int(who))]
    sid = identities.sid_of_name(who)
    if sid is None:
        raise LookupError(f"nobody is called {who}: no account, no group, and the name service knows no such name")
    return [f"{who} is {sid}", *_explain_sid(identities, sid)]


def _explain_sid(identities: Identities, sid: str) -> list[str]:
    try:
        pack_sid(sid)
    except NtStatusError:
        raise LookupError(f"{sid} is not a SID") from None
    uid, gid = identities.uid_of_sid(sid), identities.gid_of_sid(sid)
    why = why_of(identities, sid)
    if uid is None and gid is None:
        raise LookupError(f"{sid} has no uid and no gid: it is {why}")
    lines = [f"{sid} is uid {uid}{_named(identities, 'uid', uid)}: {why}"] if uid is not None else []
    return [*lines, *([f"{sid} is gid {gid}{_named(identities, 'gid', gid)}: {why}"] if gid is not None else [])]


def _explain_number(identities: Identities, number: int) -> Iterator[str]:
    for kind, sid in (("uid", identities.sid_of_uid(number)), ("gid", identities.sid_of_gid(number))):
        yield f"{kind} {number}{_named(identities, kind, number)} is {sid}: {why_of(identities, sid)}"


def _named(identities: Identities, kind: str, number: int) -> str:
    """The name that the system has for an id, in brackets; nothing if it has none, or does not answer."""
    with suppress(NameServiceError):
        names = identities.names
        found = names.user_of_uid(number) if kind == "uid" else names.group_of_gid(number)
        if found is not None:
            return f" ({found.name})"
    return ""


def why_of(identities: Identities, sid: str) -> str:
    """Where the map has a SID from."""
    settings = identities.settings
    if sid in settings.users or sid in settings.groups:
        return f"decreed in [identity.{'users' if sid in settings.users else 'groups'}]"
    if sid.startswith(("S-1-22-", "S-1-5-88-")):
        return "a SID that is the id itself"
    domain = identities.domain_of(sid)
    if domain is not None:
        return f"of {domain.name}, {_rule(domain)}"
    if identities.accounts.uid_of_sid(sid) is not None or identities.accounts.gid_of_sid(sid) is not None:
        return "of the accounts"
    return "of no domain that is configured"


def _rule(domain: DomainSettings) -> str:
    if domain.method == "rid":
        last = domain.base_rid + domain.high - domain.low
        return f"whose relative ids {domain.base_rid}-{last} are {domain.low}-{domain.high}"
    if domain.method == "allocate":
        return f"whose users and groups get {domain.low}-{domain.high} when they first come"
    return f"whose users the name service knows as {domain.user_name}"


def summary(settings: IdentitySettings) -> list[str]:
    """What is configured, one line for each part."""
    lines = [f"domain {one.name} ({one.sid or one.realm}), {_rule(one)}" for one in settings.domains]
    decreed = [f"{len(ids)} {kind} decreed" for kind in ("users", "groups") if (ids := getattr(settings, kind))]
    return [*lines, *decreed]
