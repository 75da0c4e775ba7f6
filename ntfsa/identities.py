"""Which SID a Unix user or group has, and back. A server's accounts implement the protocol; here is a plain one."""

from typing import Final, Protocol

UNIX_USERS: Final = "S-1-22-1"
UNIX_GROUPS: Final = "S-1-22-2"
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


class UnixIdentities:
    """Every uid is S-1-22-1-uid and every gid S-1-22-2-gid, as Samba calls Unix users that are nobody else."""

    def sid_of_uid(self, uid: int) -> str:
        """The SID of a user."""
        return f"{UNIX_USERS}-{uid}"

    def sid_of_gid(self, gid: int) -> str:
        """The SID of a group."""
        return f"{UNIX_GROUPS}-{gid}"

    def uid_of_sid(self, sid: str) -> int | None:
        """The user that a SID stands for, or None."""
        return _number_after(sid, UNIX_USERS)

    def gid_of_sid(self, sid: str) -> int | None:
        """The group that a SID stands for, or None."""
        return _number_after(sid, UNIX_GROUPS)


def _number_after(sid: str, authority: str) -> int | None:
    before, _, number = sid.rpartition("-")
    if before != authority or not (number.isascii() and number.isdigit()):
        return None
    value = int(number)
    return value if value <= _MAX_ID else None
