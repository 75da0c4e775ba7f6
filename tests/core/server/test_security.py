"""Security as clients meet it: lists of shares, listings by access, audit, privileges, and what a new logon changes."""

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lamina.core.plan import ModuleSpec, ShareSpec
from lamina.core.share_security import MASKS, ShareAccess
from lamina.core.wire import constants as smb
from lamina.core.wire.create_contexts import (
    QUERY_MAXIMAL_ACCESS,
    SD_BUFFER,
    decode_maximal_access_response,
    encode_maximal_access_request,
)
from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.extended_attributes import ExtendedAttribute, pack_full_ea
from lamina.ntfsa.security.audit import FAILED_ACCESS_ACE_FLAG, SUCCESSFUL_ACCESS_ACE_FLAG
from lamina.ntfsa.security.security_descriptor import Ace, Acl, SecurityDescriptor, pack_security_descriptor
from lamina.ntfsa.security.sid import EVERYONE
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.hooks import listens
from tests.support.served import PASSWORD, SECOND_PASSWORD, SECOND_USER, USER, Served, new_file
from tests.support.wire_client import Open, StatusError, WireClient

CREATE = 2
READ, CHANGE, FULL, NONE = ShareAccess.READ, ShareAccess.CHANGE, ShareAccess.FULL, ShareAccess.NONE
BACKUP_OPERATORS = "S-1-5-32-551"
STORED = (
    ModuleSpec("acl_xattr", {"attribute": "user.NTACL", "ignore_system_acls": True}),
    "dos_attributes",
    "posix",
)
"""A chain in which descriptors alone decide, whoever runs the tests."""


@pytest.fixture
def share(serve: Callable[..., Served], tmp_path: Path) -> Callable[..., Served]:
    """Serve the share "data" with stored descriptors and these further settings."""
    return lambda **settings: serve(shares={"data": ShareSpec(tmp_path / "data", chain=STORED, **settings)})


@pytest.fixture
def second() -> dict[str, str]:
    return {"user": SECOND_USER, "password": SECOND_PASSWORD}


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(StatusError) as caught:
        call()
    return str(caught.value).rpartition(": ")[2]


def pack_rename(name: str, replace: bool = False) -> bytes:
    """FILE_RENAME_INFORMATION_TYPE_2, which is FILE_LINK_INFORMATION, too (MS-FSCC 2.4.42.2)."""
    encoded = name.encode("utf-16-le")
    return struct.pack("<B7xQI", replace, 0, len(encoded)) + encoded


def guarded(client: WireClient, name: str, *aces: Ace, sacl: tuple[Ace, ...] = (), directory: bool = False) -> None:
    """A file or folder with this list."""
    descriptor = SecurityDescriptor(None, None, Acl(aces), Acl(sacl) if sacl else None)
    made = client.create(
        name,
        access=c.GENERIC_ALL,
        disposition=CREATE,
        options=c.FILE_DIRECTORY_FILE if directory else 0,
        contexts={SD_BUFFER: pack_security_descriptor(descriptor)},
    )
    client.close(made)


def allow(mask: int, sid: str = EVERYONE) -> Ace:
    return Ace(0, 0, mask, sid)


def test_overwriting_a_file_brings_no_attributes_of_who_may_not_write_them(
    share: Callable[..., Served], second: Any
) -> None:
    served = share()
    guarded(served.connected(), "file", allow(c.FILE_ALL_ACCESS & ~c.FILE_WRITE_EA))
    client = served.connected(**second)
    packed, _ = pack_full_ea([ExtendedAttribute("NAME", b"value")], 100)
    asked: dict[str, Any] = {"access": c.FILE_READ_DATA, "disposition": c.FILE_OVERWRITE}
    assert refused(lambda: client.create("file", **asked, contexts={b"ExtA": packed})) == "ACCESS_DENIED"
    client.close(client.create("file", **asked))


# -- lists of shares -----------------------------------------------------------------------------------------------


def test_who_is_not_in_the_list_of_a_share_may_not_connect(share: Callable[..., Served], second: Any) -> None:
    served = share(access={USER: FULL})
    served.connected()
    assert refused(lambda: served.connected(**second)) == "ACCESS_DENIED"


def test_a_reader_of_a_share_reads_and_changes_nothing(share: Callable[..., Served], second: Any) -> None:
    served = share(access={USER: FULL, "everyone": READ})
    owner, reader = served.connected(), served.logged_on(**second)
    file = new_file(owner)
    owner.write(file, b"text")
    owner.close(file)
    assert reader.tree_connect("data").maximal_access == MASKS[READ]
    opened = reader.create("file", contexts={QUERY_MAXIMAL_ACCESS: b""})
    answer = decode_maximal_access_response(opened.response.contexts[QUERY_MAXIMAL_ACCESS])
    assert answer.maximal_access == MASKS[READ]
    assert reader.read(opened, 9) == b"text"
    assert refused(lambda: reader.write(opened, b"x")) == "ACCESS_DENIED"
    link = pack_rename("other")
    assert refused(lambda: reader.set_info(opened, smb.INFO_FILE, c.FILE_LINK_INFORMATION, link)) == "ACCESS_DENIED"
    for access in (c.FILE_WRITE_DATA, c.DELETE, c.WRITE_DAC, c.GENERIC_ALL, c.FILE_WRITE_ATTRIBUTES):
        assert refused(lambda wanted=access: reader.create("file", access=wanted)) == "ACCESS_DENIED"
    for disposition in (CREATE, c.FILE_OPEN_IF, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE):
        assert refused(lambda how=disposition: reader.create("new", access=1, disposition=how)) == "ACCESS_DENIED"
    assert refused(lambda: reader.create("file", access=1, disposition=c.FILE_OVERWRITE)) == "ACCESS_DENIED"


def test_who_knows_the_maximal_access_is_not_told_again(share: Callable[..., Served]) -> None:
    """The Timestamp of SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST is when the file was written that he knows it of."""
    client = share().connected()
    written = new_file(client).response.last_write_time

    def told(known: int | None) -> tuple[int, ...]:
        asked = {QUERY_MAXIMAL_ACCESS: encode_maximal_access_request(known)}
        opened = client.create("file", contexts=asked)
        return tuple(decode_maximal_access_response(opened.response.contexts[QUERY_MAXIMAL_ACCESS]))

    assert told(written) == (NtStatus.NONE_MAPPED, 0)
    for known in (None, 0, written + 1):
        assert told(known) == (NtStatus.SUCCESS, c.FILE_ALL_ACCESS)


def test_who_may_change_changes_but_permissions(share: Callable[..., Served], second: Any) -> None:
    served = share(access={"authenticated users": CHANGE})
    client = served.connected(**second)
    file = client.create("file", disposition=CREATE)
    client.write(file, b"x")
    client.set_info(file, smb.INFO_FILE, c.FILE_RENAME_INFORMATION, pack_rename("renamed"))
    assert refused(lambda: client.create("renamed", access=c.WRITE_DAC)) == "ACCESS_DENIED"
    assert refused(lambda: client.create("renamed", access=c.WRITE_OWNER)) == "ACCESS_DENIED"


# -- listings by access --------------------------------------------------------------------------------------------


def names_in(client: WireClient, pattern: str = "*") -> set[str]:
    folder = client.create("", access=c.FILE_LIST_DIRECTORY, options=c.FILE_DIRECTORY_FILE)
    try:
        data = client.query_directory(folder, pattern, 12)
    except StatusError:
        return set()
    finally:
        client.close(folder)
    found, at = set(), 0
    while True:
        step, length = (int.from_bytes(data[at + offset : at + offset + 4], "little") for offset in (0, 8))
        found.add(data[at + 12 : at + 12 + length].decode("utf-16-le"))
        if not step:
            return found - {".", ".."}
        at += step


@pytest.mark.parametrize(("on", "shown"), [(False, {"open", "closed", "half"}), (True, {"open"})])
def test_a_listing_by_access_shows_what_may_be_read(
    share: Callable[..., Served], second: Any, on: bool, shown: set[str]
) -> None:
    served = share(access_based_enumeration=on)
    owner = served.logged_on()
    flags = owner.tree_connect("data").share_flags
    assert bool(flags & 0x800) is on
    guarded(owner, "open", allow(c.GENERIC_READ))
    guarded(owner, "half", allow(c.FILE_READ_DATA | c.READ_CONTROL | c.FILE_READ_ATTRIBUTES))
    guarded(owner, "closed", directory=True)
    reader = served.connected(**second)
    assert names_in(reader) == shown
    assert names_in(reader, "half") == ({"half"} if not on else set())
    assert names_in(reader, "open") == {"open"}
    # What is not listed is still there for who knows its name.
    reader.close(reader.create("half", access=c.FILE_READ_DATA))


# -- audit ---------------------------------------------------------------------------------------------------------


class Listener:
    """Keeps what is announced."""

    def __init__(self) -> None:
        self.heard: list[Mapping[str, Any]] = []

    @listens
    def event(self, kind: str, details: Mapping[str, Any]) -> None:
        if kind == "access.audited":
            self.heard.append(details)


@pytest.fixture
def listener() -> Listener:
    return Listener()


def heard_of(served: Served, listener: Listener, count: int) -> list[tuple[str, str, str, set[str]]]:
    served.until(lambda: len(listener.heard) >= count)
    assert len(listener.heard) == count
    assert all(details["client"] == "127.0.0.1" for details in listener.heard)
    return [(e["result"], e["user"], e["path"], set(e["rights"])) for e in listener.heard]


def administrator(served: Served) -> WireClient:
    """A client of the first user, who is made an administrator."""
    accounts: Any = served.server.runtime.accounts
    known = accounts.lookup(USER)
    accounts.add(USER, PASSWORD, uid=known.uid, gid=known.gid, groups=["administrators"])
    return served.connected()


def test_audit_entries_tell_who_did_what_and_who_could_not(
    share: Callable[..., Served], second: Any, listener: Listener
) -> None:
    served = share()
    served.call(lambda: served.server.runtime.hooks.register(listener, "listener"))
    owner = administrator(served)
    entries = (
        Ace(2, SUCCESSFUL_ACCESS_ACE_FLAG, c.FILE_WRITE_DATA, EVERYONE),
        Ace(2, FAILED_ACCESS_ACE_FLAG, c.FILE_EXECUTE, EVERYONE),
        Ace(2, SUCCESSFUL_ACCESS_ACE_FLAG, c.FILE_READ_DATA, "S-1-5-21-1-2-3-4"),
    )
    guarded(owner, "watched", allow(c.FILE_READ_DATA | c.FILE_WRITE_DATA), sacl=entries)
    user = served.connected(**second)
    user.close(user.create("watched", access=c.FILE_READ_DATA))
    user.close(user.create("watched", access=c.FILE_READ_DATA | c.FILE_WRITE_DATA))
    assert refused(lambda: user.create("watched", access=c.FILE_EXECUTE | c.READ_CONTROL)) == "ACCESS_DENIED"
    assert refused(lambda: user.create("watched", access=c.WRITE_OWNER)) == "ACCESS_DENIED"
    assert heard_of(served, listener, 2) == [
        ("success", SECOND_USER, "watched", {"read_data", "write_data"}),
        ("failure", SECOND_USER, "watched", {"execute", "read_control"}),
    ]


def test_what_is_added_to_an_audited_folder_is_told_of(
    share: Callable[..., Served], second: Any, listener: Listener
) -> None:
    served = share()
    served.call(lambda: served.server.runtime.hooks.register(listener, "listener"))
    both = SUCCESSFUL_ACCESS_ACE_FLAG | FAILED_ACCESS_ACE_FLAG
    entry = Ace(2, both, c.FILE_ADD_FILE | c.FILE_ADD_SUBDIRECTORY, EVERYONE)
    guarded(administrator(served), "folder", allow(c.FILE_ADD_FILE), sacl=(entry,), directory=True)
    user = served.connected(**second)
    user.close(user.create("folder\\file", access=c.FILE_READ_DATA, disposition=CREATE))
    inner = {"access": c.FILE_LIST_DIRECTORY, "disposition": CREATE, "options": c.FILE_DIRECTORY_FILE}
    assert refused(lambda: user.create("folder\\sub", **inner)) == "ACCESS_DENIED"
    assert heard_of(served, listener, 2) == [
        ("success", SECOND_USER, "folder", {"write_data"}),
        ("failure", SECOND_USER, "folder", {"append_data"}),
    ]


def test_who_replaces_an_audited_file_by_another_deletes_it(
    share: Callable[..., Served], second: Any, listener: Listener
) -> None:
    served = share()
    served.call(lambda: served.server.runtime.hooks.register(listener, "listener"))
    owner = administrator(served)
    entry = Ace(2, SUCCESSFUL_ACCESS_ACE_FLAG | FAILED_ACCESS_ACE_FLAG, c.DELETE, EVERYONE)
    guarded(owner, "folder", allow(c.FILE_ALL_ACCESS & ~c.FILE_DELETE_CHILD), directory=True)
    for name, rights in (("kept", c.FILE_READ_DATA), ("lost", c.FILE_READ_DATA | c.DELETE)):
        guarded(owner, f"folder\\{name}", allow(rights), sacl=(entry,))
    guarded(owner, "other", allow(c.GENERIC_ALL))
    user = served.connected(**second)
    other = user.create("other", access=c.DELETE)

    def replaces(name: str) -> None:
        user.set_info(other, smb.INFO_FILE, c.FILE_RENAME_INFORMATION, pack_rename(f"folder\\{name}", replace=True))

    assert refused(lambda: replaces("kept")) == "ACCESS_DENIED"
    replaces("lost")
    assert heard_of(served, listener, 2) == [
        ("failure", SECOND_USER, "folder\\kept", {"delete"}),
        ("success", SECOND_USER, "folder\\lost", {"delete"}),
    ]


def test_audit_entries_are_not_brought_along_either(share: Callable[..., Served]) -> None:
    served = share()
    entry = Ace(2, SUCCESSFUL_ACCESS_ACE_FLAG, c.FILE_READ_DATA, EVERYONE)
    client = served.connected()
    assert refused(lambda: guarded(client, "file", allow(c.GENERIC_ALL), sacl=(entry,))) == "PRIVILEGE_NOT_HELD"
    assert not list(served.folder.iterdir())


def test_auditing_is_for_who_has_the_privilege(share: Callable[..., Served], second: Any) -> None:
    served = share()
    guarded(administrator(served), "file", allow(c.GENERIC_ALL))
    user = served.connected(**second)
    assert refused(lambda: user.create("file", access=c.ACCESS_SYSTEM_SECURITY)) == "PRIVILEGE_NOT_HELD"
    file = user.create("file", access=c.READ_CONTROL)
    query = {"additional": c.SACL_SECURITY_INFORMATION}
    assert refused(lambda: user.query_info(file, smb.INFO_SECURITY, 0, **query)) == "ACCESS_DENIED"


# -- privileges ----------------------------------------------------------------------------------------------------


def test_backup_operators_read_everything_for_backup_and_nothing_otherwise(share: Callable[..., Served]) -> None:
    served = share()
    guarded(served.connected(), "secret")
    accounts: Any = served.server.runtime.accounts
    account = accounts.lookup(SECOND_USER)
    accounts.add(SECOND_USER, SECOND_PASSWORD, uid=account.uid, gid=account.gid, groups=["backup operators"])
    operator = served.connected(user=SECOND_USER, password=SECOND_PASSWORD)
    assert refused(lambda: operator.create("secret", access=c.FILE_READ_DATA)) == "ACCESS_DENIED"
    backup = {"options": c.FILE_OPEN_FOR_BACKUP_INTENT}
    operator.close(operator.create("secret", access=c.GENERIC_READ, **backup))
    operator.close(operator.create("secret", access=c.GENERIC_WRITE | c.DELETE, **backup))


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: all files are the same user's otherwise")
def test_an_administrator_takes_ownership_and_then_the_file(share: Callable[..., Served]) -> None:
    served = share()
    served.folder.chmod(0o777)
    served.server.runtime.accounts.add(SECOND_USER, SECOND_PASSWORD, uid=12002, gid=12002)  # type: ignore[attr-defined]
    user = served.connected(user=SECOND_USER, password=SECOND_PASSWORD)
    guarded(user, "theirs")
    admin = administrator(served)
    assert refused(lambda: admin.create("theirs", access=c.WRITE_DAC)) == "ACCESS_DENIED"
    sid = served.server.runtime.accounts.lookup(USER).sid  # type: ignore[union-attr]
    taken = admin.create("theirs", access=c.WRITE_OWNER)
    owner = pack_security_descriptor(SecurityDescriptor(sid))
    admin.set_info(taken, smb.INFO_SECURITY, 0, owner, c.OWNER_SECURITY_INFORMATION)
    admin.close(taken)
    opened = admin.create("theirs", access=c.WRITE_DAC)
    dacl = pack_security_descriptor(SecurityDescriptor(dacl=Acl((allow(c.GENERIC_ALL),))))
    admin.set_info(opened, smb.INFO_SECURITY, 0, dacl, c.DACL_SECURITY_INFORMATION)
    admin.close(opened)
    admin.close(admin.create("theirs", access=c.FILE_READ_DATA))


# -- what a new logon of the same session changes (CVE-2025-0620: there a group that was left still counted) ---------


@pytest.fixture
def groups(share: Callable[..., Served]) -> tuple[Served, Callable[[bool], None]]:
    """A share, and a switch: whether the second user is a backup operator at the next logon."""
    served = share()
    accounts: Any = served.server.runtime.accounts
    account = accounts.lookup(SECOND_USER)

    def switch(member: bool) -> None:
        in_groups = ["backup operators"] if member else []
        accounts.add(SECOND_USER, SECOND_PASSWORD, uid=account.uid, gid=account.gid, groups=in_groups)

    return served, switch


def again(client: WireClient) -> None:
    client.session_setup(SECOND_USER, SECOND_PASSWORD, reauthenticate=True)


def test_who_has_left_a_group_keeps_his_opens_and_gets_no_new_ones(
    groups: tuple[Served, Callable[[bool], None]],
) -> None:
    served, member = groups
    owner = served.connected()
    guarded(owner, "file", allow(c.FILE_GENERIC_READ | c.FILE_WRITE_DATA, BACKUP_OPERATORS))
    guarded(owner, "folder", allow(c.GENERIC_ALL, BACKUP_OPERATORS), directory=True)
    member(True)
    client = served.connected(user=SECOND_USER, password=SECOND_PASSWORD)
    kept: Open = client.create("file", access=c.FILE_READ_DATA | c.FILE_WRITE_DATA)
    moving: Open = client.create("moving", access=c.GENERIC_ALL, disposition=CREATE)
    member(False)
    # The groups of a session are those of its last logon: nothing has changed yet.
    client.close(client.create("file", access=c.FILE_READ_DATA))
    again(client)
    # What an open was granted it keeps, as with Windows; whatever is checked anew is checked for who he is now.
    client.write(kept, b"still")
    assert client.read(kept, 9) == b"still"
    assert refused(lambda: client.create("file", access=c.FILE_READ_DATA)) == "ACCESS_DENIED"
    assert refused(lambda: client.create("folder\\new", access=1, disposition=CREATE)) == "ACCESS_DENIED"
    into = pack_rename("folder\\moved")
    for information in (c.FILE_RENAME_INFORMATION, c.FILE_LINK_INFORMATION):
        assert refused(lambda kind=information: client.set_info(moving, smb.INFO_FILE, kind, into)) == "ACCESS_DENIED"
    member(True)
    again(client)
    client.close(client.create("file", access=c.FILE_READ_DATA))
    client.set_info(moving, smb.INFO_FILE, c.FILE_RENAME_INFORMATION, into)


def test_a_share_that_no_longer_admits_somebody_gives_him_no_new_opens(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve(shares={"data": ShareSpec(tmp_path / "data", access={"backup operators": FULL, USER: FULL})})
    accounts: Any = served.server.runtime.accounts
    account = accounts.lookup(SECOND_USER)
    ids = {"uid": account.uid, "gid": account.gid}
    accounts.add(SECOND_USER, SECOND_PASSWORD, **ids, groups=["backup operators"])
    client = served.connected(user=SECOND_USER, password=SECOND_PASSWORD)
    file = new_file(client)
    accounts.add(SECOND_USER, SECOND_PASSWORD, **ids)
    again(client)
    client.write(file, b"kept")
    assert refused(lambda: client.create("file", access=c.FILE_READ_DATA)) == "ACCESS_DENIED"
    assert refused(lambda: client.create("new", access=1, disposition=CREATE)) == "ACCESS_DENIED"
    assert refused(lambda: client.tree_connect("data")) == "ACCESS_DENIED"


def test_who_becomes_a_guest_has_no_more_rights_than_guests(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(shares={"data": tmp_path / "data", "open": tmp_path / "data"}, guest=True)
    for_users = served.core.find_share("data")
    assert for_users is not None
    for_users.guest = False
    client = served.connected()
    kept, tree = new_file(client), client.tree_id
    client.tree_connect("open")
    for_guests = client.tree_id
    client.session_setup("stranger", "x", reauthenticate=True)
    client.create("file", access=c.FILE_READ_ATTRIBUTES, tree_id=for_guests)
    client.tree_id = tree
    client.write(kept, b"kept")
    assert refused(lambda: client.create("file", access=c.FILE_READ_ATTRIBUTES)) == "ACCESS_DENIED"


def test_a_logon_on_one_channel_is_for_what_all_the_others_do(groups: tuple[Served, Callable[[bool], None]]) -> None:
    served, member = groups
    guarded(served.connected(), "file", allow(c.FILE_GENERIC_READ, BACKUP_OPERATORS))
    member(True)
    first = served.connected(user=SECOND_USER, password=SECOND_PASSWORD)
    second = served.bound(first, SECOND_USER, SECOND_PASSWORD)
    first.close(first.create("file", access=c.FILE_READ_DATA))
    member(False)
    again(second)
    for channel in (first, second):
        assert refused(lambda each=channel: each.create("file", access=c.FILE_READ_DATA)) == "ACCESS_DENIED"


@pytest.fixture
def asking_the_kernel(serve: Callable[..., Served], tmp_path: Path) -> Served:
    """A share without stored descriptors, with a file and a folder that only root may use."""
    for above in (tmp_path, *tmp_path.parents[:2]):
        above.chmod(above.stat().st_mode | 0o111)
    served = serve(shares={"data": ShareSpec(tmp_path / "data", chain=("dos_attributes", "posix"))})
    (served.folder / "secret").write_bytes(b"root's")
    (served.folder / "secret").chmod(0o600)
    (served.folder / "closed").mkdir(0o700)
    (served.folder / "closed" / "inner").write_bytes(b"deep")
    return served


def second_as(served: Served, *groups: str) -> WireClient:
    served.server.runtime.accounts.add(  # type: ignore[attr-defined]
        SECOND_USER, SECOND_PASSWORD, uid=12002, gid=12002, groups=groups
    )
    return served.connected(user=SECOND_USER, password=SECOND_PASSWORD)


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: the kernel refuses nobody anything otherwise")
def test_what_the_kernel_refuses_privileges_open_for_backup(asking_the_kernel: Served) -> None:
    served = asking_the_kernel
    backup = {"options": c.FILE_OPEN_FOR_BACKUP_INTENT}
    user = second_as(served)
    assert refused(lambda: user.create("secret", access=c.FILE_READ_DATA, **backup)) == "ACCESS_DENIED"
    operator = second_as(served, "backup operators")
    assert refused(lambda: operator.create("secret", access=c.FILE_READ_DATA)) == "ACCESS_DENIED"
    for name, content in (("secret", b"root's"), ("closed\\inner", b"deep")):
        opened = operator.create(name, access=c.FILE_READ_DATA | c.FILE_WRITE_DATA, **backup)
        assert operator.read(opened, 9) == content
        operator.write(opened, b"new", 0)
    assert (served.folder / "secret").read_bytes() == b"newt's"
    # And he may put back what is not there any more.
    served.folder.chmod(0o755)
    assert refused(lambda: operator.create("new", access=c.FILE_WRITE_DATA, disposition=CREATE)) == "ACCESS_DENIED"
    for name, options in (("new", 0), ("folder", c.FILE_DIRECTORY_FILE)):
        how = c.FILE_OPEN_FOR_BACKUP_INTENT | options
        operator.close(operator.create(name, access=c.FILE_WRITE_DATA, disposition=CREATE, options=how))
        assert (served.folder / name).stat().st_uid == 12002


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: nobody could be given a file otherwise")
def test_an_administrator_takes_a_file_that_has_only_a_mode(asking_the_kernel: Served) -> None:
    served = asking_the_kernel
    user = second_as(served)
    assert refused(lambda: user.create("secret", access=c.WRITE_OWNER)) == "ACCESS_DENIED"
    admin = second_as(served, "administrators")
    opened = admin.create("secret", access=c.WRITE_OWNER)
    sid = served.server.runtime.accounts.lookup(SECOND_USER).sid  # type: ignore[union-attr]
    owner = pack_security_descriptor(SecurityDescriptor(sid))
    admin.set_info(opened, smb.INFO_SECURITY, 0, owner, c.OWNER_SECURITY_INFORMATION)
    assert (served.folder / "secret").stat().st_uid == 12002
    admin.close(admin.create("secret", access=c.FILE_READ_DATA))
    nobody = pack_security_descriptor(SecurityDescriptor("S-1-22-1-12003"))
    other = admin.create("closed", access=c.WRITE_OWNER)
    admin.set_info(other, smb.INFO_SECURITY, 0, nobody, c.OWNER_SECURITY_INFORMATION)
    assert (served.folder / "closed").stat().st_uid == 12003
