"""The POSIX extensions of SMB 3.1.1 (POSIX-SMB2, POSIX-FSCC), as a client of them sees files."""

import os
import socket
import stat as st
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.plan import ShareSpec
from lamina.core.wire.close import CloseRequest, encode_close_request
from lamina.core.wire.constants import Command
from lamina.core.wire.create import CreateRequest, encode_create_request
from lamina.core.wire.create_contexts import (
    POSIX,
    REQUEST_LEASE,
    SD_BUFFER,
    LeaseContext,
    decode_lease,
    encode_lease,
    encode_posix_mode,
)
from lamina.core.wire.error import SymbolicLinkError, decode_error_contexts, decode_symbolic_link_error
from lamina.core.wire.negotiate import PosixExtensions, RawContext
from lamina.core.wire.set_info import SetInfoRequest, encode_set_info_request
from lamina.ntfsa import constants as c
from lamina.ntfsa.fscc.posix_information import IO_REPARSE_TAG_NFS
from lamina.ntfsa.fscc.reparse import (
    ReparseData,
    SymbolicLink,
    pack_reparse_data,
    pack_symbolic_link,
    parse_reparse_data,
    parse_symbolic_link,
)
from lamina.ntfsa.security.posix_security import permission_bits
from lamina.ntfsa.security.security_descriptor import (
    ACCESS_DENIED_ACE_TYPE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
)
from lamina.ntfsa.security.sid import EVERYONE
from lamina.ntfsa.status import NtStatus
from tests.support.posix_client import (
    CLASS,
    FILE_CREATE,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_OPEN_IF,
    FILE_OPEN_REPARSE_POINT,
    answer,
    asking,
    information,
    listing,
    posix_client,
    posix_open,
)
from tests.support.served import GENERIC_ALL, PASSWORD, USER, Served
from tests.support.wire_client import RELATED_FILE, Open, StatusError, WireClient

OTHER_VERSION = bytes(range(16))
RENAME, DISPOSITION = 10, 13


@pytest.fixture
def posix(served: Served) -> WireClient:
    """A client that has agreed on the extensions, connected to the share "data"."""
    return posix_client(served)


def make(client: WireClient, path: str, mode: int = 0o644, **asked: int) -> Open:
    return posix_open(client, path, mode, access=GENERIC_ALL, disposition=FILE_CREATE, **asked)


def rename(client: WireClient, file: Open, target: str, replace: bool = True) -> None:
    name = target.encode("utf-16-le")
    client.set_info(file, 1, RENAME, struct.pack("<B7xQI", replace, 0, len(name)) + name)


def delete(client: WireClient, file: Open) -> None:
    client.set_info(file, 1, DISPOSITION, b"\1")


def status_of(call: Callable[[], object]) -> NtStatus:
    with pytest.raises(StatusError) as caught:
        call()
    return NtStatus(caught.value.status)


class TestNegotiating:
    """The negotiate context (POSIX-SMB2 2.2.3.1.8)."""

    def test_who_asks_is_answered_with_the_version(self, served: Served) -> None:
        answered = served.client().negotiate(contexts=asking(OTHER_VERSION, POSIX))
        assert answered.contexts.posix == PosixExtensions((POSIX,))

    def test_who_does_not_ask_is_told_nothing(self, served: Served) -> None:
        assert served.client().negotiate().contexts.posix is None

    def test_an_unknown_version_is_not_agreed_on(self, served: Served) -> None:
        assert served.client().negotiate(contexts=asking(OTHER_VERSION)).contexts.posix is None

    @pytest.mark.parametrize("data", [b"", b"01234", POSIX + b"x"], ids=len)
    def test_what_is_no_list_of_versions_is_malformed(self, served: Served, data: bytes) -> None:
        client = served.client()
        contexts = [*asking()[:3], RawContext(0x100, data)]
        assert status_of(lambda: client.negotiate(contexts=contexts)) is NtStatus.INVALID_PARAMETER

    def test_a_server_may_have_them_switched_off(self, serve: Callable[..., Served]) -> None:
        served = serve(posix_extensions=False)
        client = served.client()
        assert client.negotiate(contexts=asking(POSIX)).contexts.posix is None
        client.session_setup(USER, PASSWORD)
        client.tree_connect("data")
        assert POSIX not in posix_open(client, "a", disposition=FILE_OPEN_IF).response.contexts


class TestCreateContext:
    """The create context (POSIX-SMB2 2.2.13.2.16, 2.2.14.2.16)."""

    def test_it_says_who_owns_a_file_and_what_may_be_done_with_it(self, posix: WireClient, served: Served) -> None:
        told = answer(make(posix, "a", 0o640))
        status = os.stat(served.folder / "a")
        assert (told.links, told.tag, told.mode) == (1, 0, st.S_IFREG | 0o640)
        assert told.owner.startswith("S-1-")
        assert told.group.startswith("S-1-")
        assert status.st_mode == st.S_IFREG | 0o640

    def test_the_mode_of_a_folder_is_as_older_kernels_want_it(self, posix: WireClient) -> None:
        """Linux before 6.12 adds the type by itself: bits of it in the mode would make the folder something else."""
        folder = make(posix, "f", 0o750, options=FILE_DIRECTORY_FILE)
        assert struct.unpack_from("<8xI", folder.response.contexts[POSIX]) == (0o750,)
        assert struct.unpack_from("<I", posix.query_info(folder, 1, CLASS), 76) == (0o750,)

    def test_without_an_agreement_it_is_passed_over(self, served: Served) -> None:
        client = served.connected()
        made = posix_open(client, "A", 0o600, access=GENERIC_ALL, disposition=FILE_CREATE)
        assert POSIX not in made.response.contexts
        client.close(client.create("a"))

    def test_a_share_may_have_them_switched_off(self, serve: Callable[..., Served], tmp_path: os.PathLike[str]) -> None:
        served = serve(shares={"data": ShareSpec(tmp_path, posix_extensions=False)})  # type: ignore[arg-type]
        client = posix_client(served)
        assert POSIX not in posix_open(client, "a", disposition=FILE_OPEN_IF).response.contexts

    @pytest.mark.parametrize("data", [b"", b"000", b"00000"], ids=len)
    def test_one_that_is_no_mode_is_malformed(self, posix: WireClient, data: bytes) -> None:
        assert status_of(lambda: posix.create("", contexts={POSIX: data})) is NtStatus.INVALID_PARAMETER

    @pytest.mark.parametrize("mode", [0o600, 0o666, 0o777, 0o1755, 0o444, 0o751])
    def test_new_files_have_the_mode_that_was_asked_for(self, posix: WireClient, served: Served, mode: int) -> None:
        file, folder = make(posix, "file", mode), make(posix, "folder", mode | 0o700, options=FILE_DIRECTORY_FILE)
        posix.write(file, b"data")
        assert st.S_IMODE(os.stat(served.folder / "file").st_mode) == mode
        assert st.S_IMODE(os.stat(served.folder / "folder").st_mode) == mode | 0o700
        assert answer(folder).mode == st.S_IFDIR | mode | 0o700

    def test_who_knows_no_mode_gets_the_usual_one(self, posix: WireClient, served: Served) -> None:
        """Linux 6.12 says so of what it will make a pipe or a device."""
        posix.close(make(posix, "file", 0xFFFF))
        posix.close(make(posix, "folder", 0xFFFF, options=FILE_DIRECTORY_FILE))
        usual = ShareSpec(served.folder)
        assert st.S_IMODE(os.stat(served.folder / "file").st_mode) == usual.file_mode
        assert st.S_IMODE(os.stat(served.folder / "folder").st_mode) == usual.directory_mode

    def test_the_mode_of_a_file_that_is_there_stays(self, posix: WireClient, served: Served) -> None:
        posix.close(make(posix, "a", 0o640))
        posix.close(posix_open(posix, "a", 0o777, disposition=FILE_OPEN_IF))
        assert st.S_IMODE(os.stat(served.folder / "a").st_mode) == 0o640


class TestNames:
    """Names are those on disk, and case counts."""

    def test_case_counts(self, posix: WireClient, served: Served) -> None:
        posix.close(make(posix, "xx"))
        assert status_of(lambda: posix_open(posix, "XX")) is NtStatus.OBJECT_NAME_NOT_FOUND
        posix.close(make(posix, "XX"))
        assert sorted(os.listdir(served.folder)) == ["XX", "xx"]
        posix.close(make(posix, "Folder", 0o755, options=FILE_DIRECTORY_FILE))
        assert status_of(lambda: make(posix, "folder/a")) is NtStatus.OBJECT_PATH_NOT_FOUND

    @pytest.mark.parametrize(
        "name", ["a ", "a  ", ". ", "a.", ".a", "...", " \\ ", ">", "<?", "a:b", "*", '"', "|", "\x01", "ä", "😀"]
    )
    def test_what_nt_reserves_may_be_in_a_name(self, posix: WireClient, served: Served, name: str) -> None:
        file = make(posix, name)
        assert os.listdir(served.folder) == [name]
        assert name in listing(posix)
        delete(posix, file)
        posix.close(file)
        assert os.listdir(served.folder) == []

    def test_clients_that_map_reserved_characters_mean_the_same_file(self, posix: WireClient, served: Served) -> None:
        posix.close(make(posix, "a\uf03ab"))
        assert os.listdir(served.folder) == ["a:b"]
        posix.close(posix_open(posix, "a:b"))
        assert status_of(lambda: make(posix, "a:b")) is NtStatus.OBJECT_NAME_COLLISION

    @pytest.mark.parametrize(
        ("sent", "meant"),
        [
            ("a\uf029", "a."),
            ("a\uf028", "a "),
            ("\uf029a", "\uf029a"),
            ("\uf020\uf021\uf022\uf023", '"*:<'),
            ("\uf024\uf025\uf026\uf027", ">?\\|"),
        ],
    )
    def test_linux_maps_what_nt_reserves(self, posix: WireClient, served: Served, sent: str, meant: str) -> None:
        posix.close(make(posix, sent))
        assert os.listdir(served.folder) == [meant]
        assert status_of(lambda: make(posix, ".\uf029")) is NtStatus.OBJECT_PATH_SYNTAX_BAD

    def test_other_clients_see_such_names_mapped(self, posix: WireClient, served: Served) -> None:
        posix.close(make(posix, "a\\b"))
        client = served.connected()
        client.close(client.create("a\uf05cb"))

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/a", NtStatus.INVALID_PARAMETER),
            ("..", NtStatus.OBJECT_PATH_SYNTAX_BAD),
            ("a/../b", NtStatus.OBJECT_PATH_SYNTAX_BAD),
            ("a//b", NtStatus.OBJECT_NAME_INVALID),
            ("./a", NtStatus.OBJECT_NAME_INVALID),
            ("a\0b", NtStatus.OBJECT_NAME_INVALID),
            ("a" * 256, NtStatus.OBJECT_NAME_INVALID),
            ("ä" * 200, NtStatus.OBJECT_NAME_INVALID),
        ],
    )
    def test_what_no_file_can_be_called_is_refused(self, posix: WireClient, path: str, status: NtStatus) -> None:
        assert status_of(lambda: make(posix, path)) is status

    def test_slashes_stand_between_folders(self, posix: WireClient, served: Served) -> None:
        posix.close(make(posix, "f", 0o755, options=FILE_DIRECTORY_FILE))
        posix.close(make(posix, "f/g", 0o755, options=FILE_DIRECTORY_FILE))
        posix.close(make(posix, "f/g/a"))
        assert (served.folder / "f" / "g" / "a").is_file()


class TestInformation:
    """Class 100 of files, listings and file systems (POSIX-FSCC 2.3)."""

    def test_a_file_is_told_whole(self, posix: WireClient, served: Served) -> None:
        file = make(posix, "a", 0o604)
        posix.write(file, b"data")
        os.link(served.folder / "a", served.folder / "b")
        told, status = information(posix, file), os.stat(served.folder / "a")
        assert (told.size, told.allocated, told.inode, told.attributes) == (4, 4096, status.st_ino, 0x20)
        assert told.device
        assert told.details._replace(owner="", group="") == (2, 0, status.st_mode, "", "")
        assert told.details == answer(posix_open(posix, "b"))

    def test_only_such_opens_are_told(self, posix: WireClient) -> None:
        file = posix.create("")
        assert status_of(lambda: posix.query_info(file, 1, CLASS)) is NtStatus.INVALID_INFO_CLASS
        assert status_of(lambda: posix.query_info(file, 2, CLASS)) is NtStatus.INVALID_INFO_CLASS
        listed = status_of(lambda: posix.query_directory(file, info_class=CLASS))
        assert listed is NtStatus.INVALID_INFO_CLASS

    @pytest.mark.parametrize("room", [400, 65536])
    def test_a_listing_tells_what_queries_tell(self, posix: WireClient, served: Served, room: int) -> None:
        for number in range(12):
            posix.close(make(posix, f"{'name' * number}{number}", 0o600 + number))
        posix.close(make(posix, "folder", 0o711, options=FILE_DIRECTORY_FILE))
        listed = listing(posix, room=room)
        assert set(listed) == {".", "..", *os.listdir(served.folder)}
        for name in os.listdir(served.folder):
            file = posix_open(posix, name)
            assert listed[name] == information(posix, file), name
            posix.close(file)

    def test_no_room_for_an_entry(self, posix: WireClient) -> None:
        root = posix_open(posix, "", options=FILE_DIRECTORY_FILE)
        for room in (10, 100, 120):
            refused = status_of(lambda room=room: posix.query_directory(root, info_class=CLASS, max_length=room))
            assert refused is NtStatus.INFO_LENGTH_MISMATCH

    def test_what_is_above_a_share_is_nobodys_business(self, posix: WireClient) -> None:
        above = listing(posix)[".."]
        assert (above.details.owner, above.details.group) == ("S-1-0-0", "S-1-0-0")
        assert (above.inode, above.device) == (0, 0)

    def test_one_name_is_found_exactly(self, posix: WireClient) -> None:
        posix.close(make(posix, "a"))
        root = posix_open(posix, "", options=FILE_DIRECTORY_FILE)
        assert posix.query_directory(root, "a", CLASS)
        found = status_of(lambda: posix.query_directory(root, "A", CLASS, flags=c.SMB2_RESTART_SCANS))
        assert found in {NtStatus.NO_SUCH_FILE, NtStatus.NO_MORE_FILES}

    def test_what_is_neither_file_nor_folder_is_told(self, posix: WireClient, served: Served) -> None:
        os.mkfifo(served.folder / "pipe", 0o622)
        os.symlink("pipe", served.folder / "link")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(served.folder / "socket"))
            listed = listing(posix)
        kinds = {name: st.S_IFMT(listed[name].details.mode) for name in ("pipe", "link", "socket")}
        assert kinds == {"pipe": st.S_IFIFO, "link": st.S_IFLNK, "socket": st.S_IFSOCK}
        tags = {name: listed[name].details.tag for name in kinds}
        assert tags == {"pipe": 0x80000014, "link": 0xA000000C, "socket": 0x80000014}
        assert {listed[name].attributes for name in kinds} == {c.FILE_ATTRIBUTE_REPARSE_POINT}

    @pytest.mark.parametrize(
        ("inode_type", "kind"),
        [("CHR", st.S_IFCHR), ("BLK", st.S_IFBLK), ("FIFO", st.S_IFIFO), ("SOCK", st.S_IFSOCK)],
    )
    def test_what_a_client_makes_a_pipe_is_one_to_clients(
        self, posix: WireClient, served: Served, inode_type: str, kind: int
    ) -> None:
        file = make(posix, "a", options=FILE_OPEN_REPARSE_POINT)
        data = inode_type.encode().ljust(8, b"\0") + struct.pack("<II", 1, 3)
        posix.ioctl(c.FSCTL_SET_REPARSE_POINT, pack_reparse_data(ReparseData(IO_REPARSE_TAG_NFS, data)), file)
        told = information(posix, file)
        assert (told.attributes, told.details.tag) == (c.FILE_ATTRIBUTE_REPARSE_POINT, IO_REPARSE_TAG_NFS)
        assert told.details.mode == kind | 0o644
        assert listing(posix)["a"] == told
        assert os.path.isfile(served.folder / "a")

    def test_a_pipe_says_what_it_is(self, posix: WireClient, served: Served) -> None:
        os.mkfifo(served.folder / "pipe")
        pipe = posix_open(posix, "pipe", access=c.FILE_READ_ATTRIBUTES, options=FILE_OPEN_REPARSE_POINT)
        assert information(posix, pipe).details.tag == 0x80000014
        found = parse_reparse_data(posix.ioctl(c.FSCTL_GET_REPARSE_POINT, file=pipe).output)
        assert (found.tag, found.data) == (0x80000014, b"OFIF\0\0\0\0"[::-1][4:] + bytes(4))

    def test_the_file_system_is_told(self, posix: WireClient, served: Served) -> None:
        root, known = posix_open(posix, ""), os.statvfs(served.folder)
        told = struct.unpack("<II6Q", posix.query_info(root, 2, CLASS))
        assert told[1] == known.f_frsize
        assert told[2] == known.f_blocks
        assert told[5] == (known.f_files or 0xFFFFFFFFFFFFFFFF)


class TestSymbolicLinks:
    """They hold what the client put there, and it follows them itself."""

    @pytest.mark.parametrize("target", ["a", "../a/b", "/abs/path", "with\\backslash", "a:b"])
    def test_a_link_holds_what_it_is_given(self, posix: WireClient, served: Served, target: str) -> None:
        file = make(posix, "link", options=FILE_OPEN_REPARSE_POINT)
        link = SymbolicLink(target, target, not target.startswith("/"))
        posix.ioctl(c.FSCTL_SET_REPARSE_POINT, pack_reparse_data(pack_symbolic_link(link)), file)
        assert os.readlink(served.folder / "link") == target
        assert information(posix, file).details.mode == st.S_IFLNK | 0o777
        posix.close(file)
        again = posix_open(posix, "link", access=c.FILE_READ_ATTRIBUTES, options=FILE_OPEN_REPARSE_POINT)
        found = parse_reparse_data(posix.ioctl(c.FSCTL_GET_REPARSE_POINT, file=again).output)
        assert parse_symbolic_link(found.data) == link

    @pytest.mark.parametrize(
        ("sent", "relative", "meant"),
        [
            ("etc/hosts", False, "/etc/hosts"),
            ("a\uf022b/c\uf029", True, "a:b/c."),
            ("\\\\server\\x", False, "\\\\server\\x"),
        ],
    )
    def test_what_linux_makes_of_a_target_is_undone(
        self, posix: WireClient, served: Served, sent: str, relative: bool, meant: str
    ) -> None:
        """Linux 6.12 leaves the first separator out, and maps characters as in names."""
        file = make(posix, "link", options=FILE_OPEN_REPARSE_POINT)
        link = pack_symbolic_link(SymbolicLink(sent, sent, relative))
        posix.ioctl(c.FSCTL_SET_REPARSE_POINT, pack_reparse_data(link), file)
        assert os.readlink(served.folder / "link") == meant

    def test_a_link_is_the_clients_to_follow(self, posix: WireClient, served: Served) -> None:
        (served.folder / "file").write_text("x")
        os.symlink("file", served.folder / "link")
        with pytest.raises(StatusError) as caught:
            posix_open(posix, "link")
        assert caught.value.status == NtStatus.STOPPED_ON_SYMLINK
        error = caught.value.response.error()
        context = decode_error_contexts(memoryview(error.data), error.context_count)[0]
        assert decode_symbolic_link_error(memoryview(context.data)) == SymbolicLinkError(0, "file", "file", True)

    def test_a_link_is_renamed_and_deleted_itself(self, posix: WireClient, served: Served) -> None:
        os.symlink("nowhere", served.folder / "link")
        link = posix_open(posix, "link", access=c.DELETE, options=FILE_OPEN_REPARSE_POINT)
        rename(posix, link, "other")
        assert os.readlink(served.folder / "other") == "nowhere"
        delete(posix, link)
        posix.close(link)
        assert os.listdir(served.folder) == []

    def test_a_link_is_replaced_itself(self, posix: WireClient, served: Served) -> None:
        os.symlink("nowhere", served.folder / "link")
        file = make(posix, "file")
        rename(posix, file, "link")
        assert not (served.folder / "link").is_symlink()

    def test_no_link_leads_out_of_the_share(self, posix: WireClient, served: Served) -> None:
        os.symlink("/", served.folder / "out")
        assert status_of(lambda: posix_open(posix, "out/etc/passwd")) is NtStatus.OBJECT_NAME_NOT_FOUND


class TestDeletingAndRenaming:
    """As POSIX has it."""

    def test_a_name_goes_with_the_close_that_asked(self, posix: WireClient, served: Served) -> None:
        first, second = make(posix, "a"), posix_open(posix, "a", access=GENERIC_ALL)
        posix.write(second, b"data")
        delete(posix, first)
        posix.close(first)
        assert os.listdir(served.folder) == []
        assert posix.read(second, 4) == b"data"
        posix.close(make(posix, "a"))
        posix.close(second)
        assert os.listdir(served.folder) == ["a"]

    def test_delete_on_close_takes_the_name_with_that_close(self, posix: WireClient, served: Served) -> None:
        first, second = make(posix, "a", options=FILE_DELETE_ON_CLOSE), posix_open(posix, "a", access=GENERIC_ALL)
        posix.close(first)
        assert os.listdir(served.folder) == []
        posix.close(second)

    def test_such_opens_hold_up_nobodys_deletion(self, posix: WireClient, served: Served) -> None:
        windows = served.connected()
        theirs = windows.create("a", access=GENERIC_ALL, disposition=FILE_CREATE)
        ours = posix_open(posix, "a", access=GENERIC_ALL)
        delete(windows, theirs)
        windows.close(theirs)
        assert os.listdir(served.folder) == []
        posix.close(ours)

    def test_a_read_only_file_is_deleted(self, posix: WireClient, served: Served) -> None:
        windows = served.connected()
        windows.close(windows.create("a", access=GENERIC_ALL, disposition=FILE_CREATE, attributes=0x1))
        file = posix_open(posix, "a", access=c.DELETE)
        delete(posix, file)
        posix.close(file)
        assert os.listdir(served.folder) == []

    def test_a_folder_with_something_in_it_is_not_deleted(self, posix: WireClient) -> None:
        folder = make(posix, "f", 0o755, options=FILE_DIRECTORY_FILE)
        posix.close(make(posix, "f/a"))
        assert status_of(lambda: delete(posix, folder)) is NtStatus.DIRECTORY_NOT_EMPTY

    def test_a_rename_replaces_what_is_open(self, posix: WireClient, served: Served) -> None:
        source, target = make(posix, "a"), make(posix, "b")
        posix.write(source, b"new")
        posix.write(target, b"old")
        rename(posix, source, "b")
        assert (served.folder / "b").read_bytes() == b"new"
        assert posix.read(target, 3) == b"old"
        posix.close(target)
        assert os.listdir(served.folder) == ["b"]

    @pytest.mark.parametrize(("cached", "state"), [("a", 3), ("b", 7)], ids=["the file itself", "the target"])
    def test_a_rename_in_a_compound_waits_for_nobody_who_caches_a_handle(
        self, posix: WireClient, served: Served, cached: str, state: int
    ) -> None:
        """As Linux renames; it would have to answer the break of its own lease first."""
        posix.close(make(posix, "ab".replace(cached, "")))
        lease = LeaseContext(b"the one's lease ", state)
        contexts = {POSIX: encode_posix_mode(0o600), REQUEST_LEASE: encode_lease(lease)}
        leased = posix.create(cached, access=GENERIC_ALL, disposition=FILE_CREATE, oplock_level=0xFF, contexts=contexts)
        assert decode_lease(leased.response.contexts[REQUEST_LEASE]).state == state
        create = CreateRequest("a", c.DELETE, 0, 7, 1, 0)._replace(contexts={POSIX: encode_posix_mode(0)})
        name = "b".encode("utf-16-le")
        renaming = struct.pack("<B7xQI", 1, 0, len(name)) + name
        setting = SetInfoRequest(*RELATED_FILE, 1, RENAME, memoryview(renaming))
        closing = CloseRequest(*RELATED_FILE, 0)
        requests = [
            (Command.CREATE, encode_create_request(create)),
            (Command.SET_INFO, encode_set_info_request(setting)),
            (Command.CLOSE, encode_close_request(closing)),
        ]
        assert [answered.status for answered in posix.compound(requests)] == [0, 0, 0]
        assert os.listdir(served.folder) == ["b"]

    def test_a_rename_replaces_nothing_unasked(self, posix: WireClient) -> None:
        source = make(posix, "a")
        posix.close(make(posix, "b"))
        assert status_of(lambda: rename(posix, source, "b", replace=False)) is NtStatus.OBJECT_NAME_COLLISION

    def test_a_rename_changes_case_and_nothing_else(self, posix: WireClient, served: Served) -> None:
        source = make(posix, "a")
        posix.close(make(posix, "B"))
        rename(posix, source, "b", replace=False)
        rename(posix, source, "A", replace=False)
        assert sorted(os.listdir(served.folder)) == ["A", "B"]

    def test_a_folder_is_renamed_while_something_in_it_is_open(self, posix: WireClient, served: Served) -> None:
        folder = make(posix, "f", 0o755, options=FILE_DIRECTORY_FILE)
        inside = make(posix, "f/a")
        rename(posix, folder, "g")
        posix.write(inside, b"x")
        delete(posix, inside)
        posix.close(inside)
        assert os.listdir(served.folder / "g") == []

    def test_an_empty_folder_is_replaced_by_a_folder(self, posix: WireClient, served: Served) -> None:
        source = make(posix, "f", 0o755, options=FILE_DIRECTORY_FILE)
        posix.close(make(posix, "f/a"))
        posix.close(make(posix, "g", 0o755, options=FILE_DIRECTORY_FILE))
        posix.close(make(posix, "file"))
        assert status_of(lambda: rename(posix, source, "file")) is NtStatus.NOT_A_DIRECTORY
        rename(posix, source, "g")
        assert os.listdir(served.folder / "g") == ["a"]
        other = make(posix, "h", 0o755, options=FILE_DIRECTORY_FILE)
        assert status_of(lambda: rename(posix, other, "g")) is NtStatus.DIRECTORY_NOT_EMPTY


class TestModes:
    """Modes and owners are set as entries of a descriptor: S-1-5-88-3-MODE, S-1-5-88-1-UID, S-1-5-88-2-GID."""

    @staticmethod
    def descriptor(*sids: str, owner: str | None = None, group: str | None = None) -> bytes:
        acl = Acl(tuple(Ace(ACCESS_DENIED_ACE_TYPE, 0, 0, sid) for sid in sids))
        return pack_security_descriptor(SecurityDescriptor(owner, group, acl if sids else None))

    @pytest.mark.parametrize("mode", [0o600, 0o755, 0o1777, 0o4711])
    def test_the_mode_is_set(self, posix: WireClient, served: Served, mode: int) -> None:
        file = make(posix, "a")
        wanted = self.descriptor(f"S-1-5-88-3-{st.S_IFREG | mode}")
        posix.set_info(file, 3, 0, wanted, c.DACL_SECURITY_INFORMATION)
        assert st.S_IMODE(os.stat(served.folder / "a").st_mode) == mode
        assert information(posix, file).details.mode == st.S_IFREG | mode

    @pytest.mark.skipif(os.geteuid() != 0, reason="gives files away: run as root")
    def test_owner_and_group_are_set_by_who_may(self, posix: WireClient, served: Served) -> None:
        file = make(posix, "a")
        wanted = self.descriptor(owner="S-1-5-88-1-1234", group="S-1-5-88-2-4321")
        posix.set_info(file, 3, 0, wanted, c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION)
        status = os.stat(served.folder / "a")
        assert (status.st_uid, status.st_gid) == (1234, 4321)
        told = information(posix, file).details
        assert (told.owner, told.group) == ("S-1-22-1-1234", "S-1-22-2-4321")

    def test_a_list_that_says_the_mode_says_nothing_else(self, posix: WireClient, served: Served) -> None:
        """Linux, with modefromsid: beside the mode all is granted to everybody, for servers that know no modes."""
        file = make(posix, "a", 0o644)
        aces = (Ace(ACCESS_DENIED_ACE_TYPE, 0, 0, f"S-1-5-88-3-{0o640}"), Ace(0, 0, GENERIC_ALL, "S-1-5-11"))
        wanted = pack_security_descriptor(SecurityDescriptor(None, None, Acl(aces)))
        posix.set_info(file, 3, 0, wanted, c.DACL_SECURITY_INFORMATION)
        assert st.S_IMODE(os.stat(served.folder / "a").st_mode) == 0o640

    def test_a_new_file_is_not_given_such_a_list_either(self, posix: WireClient, served: Served) -> None:
        aces = (Ace(ACCESS_DENIED_ACE_TYPE, 0, 0, f"S-1-5-88-3-{0o640}"), Ace(0, 0, GENERIC_ALL, "S-1-5-11"))
        given = pack_security_descriptor(SecurityDescriptor("S-1-5-88-1-0", "S-1-5-88-2-0", Acl(aces)))
        contexts = {POSIX: encode_posix_mode(0o640), SD_BUFFER: given}
        posix.create("a", contexts=contexts, access=GENERIC_ALL, disposition=FILE_CREATE)
        status = os.stat(served.folder / "a")
        assert (st.S_IMODE(status.st_mode), status.st_uid) == (0o640, os.stat(served.folder).st_uid)

    def test_a_descriptor_tells_the_mode_and_the_numbers_of_its_owners(self, posix: WireClient, served: Served) -> None:
        file, status = make(posix, "a", 0o4711), os.stat(served.folder)
        asked = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
        told = parse_security_descriptor(posix.query_info(file, 3, 0, additional=asked))
        assert (told.owner, told.group) == (f"S-1-22-1-{status.st_uid}", f"S-1-22-2-{status.st_gid}")
        assert told.dacl is not None
        assert f"S-1-5-88-3-{st.S_IFREG | 0o4711}" in {ace.sid for ace in told.dacl.aces}
        assert not any(ace.sid.startswith("S-1-5-21-") for ace in told.dacl.aces)

    def test_a_client_without_the_extensions_may_say_the_mode_so_too(self, served: Served) -> None:
        client = served.connected()
        file = client.create("a", access=GENERIC_ALL, disposition=FILE_CREATE)
        aces = (Ace(ACCESS_DENIED_ACE_TYPE, 0, 0, f"S-1-5-88-3-{0o4640}"), Ace(0, 0, GENERIC_ALL, "S-1-5-11"))
        wanted = pack_security_descriptor(SecurityDescriptor(None, None, Acl(aces)))
        client.set_info(file, 3, 0, wanted, c.DACL_SECURITY_INFORMATION)
        assert st.S_IMODE(os.stat(served.folder / "a").st_mode) == 0o640

    def test_a_stored_list_follows_the_mode_and_keeps_what_it_says_of_others(
        self, serve: Callable[..., Served], tmp_path: Path
    ) -> None:
        served = serve(shares={"data": ShareSpec(tmp_path, chain=("acl_xattr", "dos_attributes", "posix"))})
        posix, other = posix_client(served), Ace(0, 0, c.FILE_READ_DATA, "S-1-5-21-1-2-3-1004")
        file = make(posix, "a", 0o644)
        given = pack_security_descriptor(SecurityDescriptor(None, None, Acl((other,))))
        posix.set_info(file, 3, 0, given, c.DACL_SECURITY_INFORMATION)
        posix.set_info(file, 3, 0, self.descriptor(f"S-1-5-88-3-{0o600}"), c.DACL_SECURITY_INFORMATION)
        told = parse_security_descriptor(posix.query_info(file, 3, 0, additional=c.DACL_SECURITY_INFORMATION)).dacl
        assert told is not None
        assert other in told.aces
        assert permission_bits(told.aces, {f"S-1-22-1-{os.geteuid()}", EVERYONE}) == 6
        assert permission_bits(told.aces, {EVERYONE}) == 0
        assert st.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o600
