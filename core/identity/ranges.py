"""Ids that are calculated from relative ids, as Samba's idmap_rid does it: id = low + rid - base_rid. Pure."""

from lamina.core.identity.settings import DomainSettings


def rid_of(domain_sid: str, sid: str) -> int | None:
    """The relative id of a SID within a domain; None for one of elsewhere."""
    before, _, rid = sid.rpartition("-")
    if not domain_sid or before != domain_sid or not (rid.isascii() and rid.isdigit()) or len(rid) > 10:
        return None
    value = int(rid)
    return value if value <= 0xFFFFFFFF else None


def id_of_rid(domain: DomainSettings, rid: int) -> int | None:
    """The id of a relative id; None where the range has none for it."""
    number = domain.low + rid - domain.base_rid
    return number if domain.low <= number <= domain.high else None


def sid_of_id(domain: DomainSettings, number: int) -> str | None:
    """The SID whose id this is; None for one that is not in the range."""
    if not domain.low <= number <= domain.high:
        return None
    rid = number - domain.low + domain.base_rid
    return f"{domain.sid}-{rid}" if rid <= 0xFFFFFFFF else None
