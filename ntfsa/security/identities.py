"""Which SID a Unix user or group has, and back. A server's accounts implement the protocol; here is a plain one."""

from typing import Final, Protocol

UNIX_USERS: Final = "S-1-22-1"
UNIX_GROUPS: Final = "S-1-22-2"
NFS_USERS: Final = "S-1-5-88-1"
NFS_GROUPS: Final = "S-1-5-88-2"
"""What Windows' NFS server calls the same; clients may say it, and are not told it."""

_MAX_ID: Final = 0xFFFFFFFE


class IdentityMap(Protocol):
    """SIDs and POSIX ids, one for the other. Every id has a SID; a SID may be unknown."""

    def sid_of_uid(self, uid: int) -> str:
        """The SID of a user."""
        ...

    def sid_of_gid(self, gid: int) -> str:
        """The SID of a group."""
        ...

    def uid_of_sid(self, sid: str) -> int | None:
        """The user that a SID stands for, or None."""
        ...

    def gid_of_sid(self, sid: str) -> int | None:
        """The group that a SID stands for, or None."""
        ...


def unix_user_sid(uid: int) -> str:
    """The SID of a uid that is nobody else: S-1-22-1-uid, as Samba calls it."""
    return f"{UNIX_USERS}-{uid}"


def unix_group_sid(gid: int) -> str:
    """The SID of a gid that is no other group: S-1-22-2-gid."""
    return f"{UNIX_GROUPS}-{gid}"


def unix_uid_of(sid: str) -> int | None:
    """The uid of an S-1-22-1 or S-1-5-88-1 SID, or None."""
    return _number_after(sid, (UNIX_USERS, NFS_USERS))


def unix_gid_of(sid: str) -> int | None:
    """The gid of an S-1-22-2 or S-1-5-88-2 SID, or None."""
    return _number_after(sid, (UNIX_GROUPS, NFS_GROUPS))


def _number_after(sid: str, authorities: tuple[str, str]) -> int | None:
    before, _, number = sid.rpartition("-")
    if before not in authorities or not (number.isascii() and number.isdigit()) or len(number) > 10:
        return None
    value = int(number)
    return value if value <= _MAX_ID else None


class UnixIdentities:
    """The map of a server without accounts: every id is its Unix SID."""

    sid_of_uid = staticmethod(unix_user_sid)
    sid_of_gid = staticmethod(unix_group_sid)
    uid_of_sid = staticmethod(unix_uid_of)
    gid_of_sid = staticmethod(unix_gid_of)
