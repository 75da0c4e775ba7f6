"""What the procedures answer, as impacket's independent implementation of the client reads it."""

from collections.abc import Callable
from typing import Any

import pytest
from impacket.dcerpc.v5 import rpcrt, srvs, transport, wkst
from impacket.dcerpc.v5.dtypes import NULL

from lamina.core.rpc.pipes import RpcPipe
from lamina.core.rpc.view import ShareView
from lamina.core.share_security import ShareSecurity
from lamina.ntfsa.security.security_descriptor import pack_security_descriptor
from lamina.ntfsa.status import NtStatus
from lamina.vfs_modules.token import ImpersonationToken
from tests.support.rpc_pipe import ADMINISTRATOR, USER, pipe

ACCESS_DENIED, INVALID_PARAMETER, INVALID_NAME, INVALID_LEVEL, MORE_DATA = 5, 87, 123, 124, 234
NET_NAME_NOT_FOUND, DEVICE_NOT_SHARED, CLIENT_NAME_NOT_FOUND, USER_NOT_FOUND = 2310, 2311, 2312, 2221
EVERYTHING = 0xFFFFFFFF


class PipeTransport(transport.DCERPCTransport):
    """A transport of impacket that is a pipe in memory, read in steps smaller than a message."""

    def __init__(self, opened: RpcPipe) -> None:
        transport.DCERPCTransport.__init__(self, "127.0.0.1", 0)
        self._pipe = opened

    def connect(self) -> int:
        return 1

    def send(self, data: bytes, *_: object, **__: object) -> None:
        self._pipe.write(memoryview(bytes(data)))

    def recv(self, *_: object, **__: object) -> bytes:
        answer = self._pipe.read(1024)
        data = answer.data
        while answer.status is NtStatus.BUFFER_OVERFLOW:
            answer = self._pipe.read(1024)
            data += answer.data
        return data


def connect(name: str, uuid: Any, token: ImpersonationToken = USER, shares: list[ShareView] | None = None) -> Any:
    client = rpcrt.DCERPC_v5(PipeTransport(pipe(name, token, shares or ())))
    client.bind(uuid)
    return client


@pytest.fixture(params=[USER, ADMINISTRATOR], ids=["user", "administrator"])
def token(request: pytest.FixtureRequest) -> ImpersonationToken:
    given: ImpersonationToken = request.param
    return given


@pytest.fixture
def server(token: ImpersonationToken) -> Any:
    return connect("srvsvc", srvs.MSRPC_UUID_SRVS, token)


@pytest.fixture
def admin() -> Any:
    return connect("srvsvc", srvs.MSRPC_UUID_SRVS, ADMINISTRATOR)


@pytest.fixture
def user() -> Any:
    return connect("srvsvc", srvs.MSRPC_UUID_SRVS, USER)


def error_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    with pytest.raises(rpcrt.DCERPCException) as caught:
        call(*arguments, **named)
    code: int = caught.value.get_error_code()
    return code


def rows(response: Any, level: int) -> list[Any]:
    struct = response["InfoStruct"]
    inner = next(
        struct[name] for name in ("ShareInfo", "SessionInfo", "FileInfo", "ConnectInfo") if name in struct.fields
    )
    return list(inner[f"Level{level}"]["Buffer"])


def text(value: str) -> str:
    return value.rstrip("\0")


def test_shares_are_listed_with_their_types_and_remarks(user: Any) -> None:
    found = rows(srvs.hNetrShareEnum(user, 1), 1)
    listed = [(text(row["shi1_netname"]), row["shi1_type"], text(row["shi1_remark"])) for row in found]
    assert listed == [("data", 0, "my data"), ("IPC$", 0x80000003, "Remote IPC")]


def test_hidden_shares_are_listed_for_administrators_only(user: Any, admin: Any) -> None:
    assert len(rows(srvs.hNetrShareEnum(user, 0), 0)) == 2
    assert [text(row["shi0_netname"]) for row in rows(srvs.hNetrShareEnum(admin, 0), 0)][1] == "secret$"


@pytest.mark.parametrize("level", [2, 501, 502, 503])
def test_levels_with_paths_are_for_administrators(user: Any, admin: Any, level: int) -> None:
    assert error_of(srvs.hNetrShareEnum, user, level) == ACCESS_DENIED
    assert len(rows(srvs.hNetrShareEnum(admin, level), level)) == 3


def test_level_502_shows_everything_but_the_local_path(admin: Any) -> None:
    row = rows(srvs.hNetrShareEnum(admin, 502), 502)[0]
    assert text(row["shi502_path"]) == "C:\\data"
    assert (row["shi502_current_uses"], row["shi502_max_uses"], row["shi502_reserved"]) == (2, 0xFFFFFFFF, 0)


def share_enum(client: Any, maximum: int, resume: int, call: Any = srvs.NetrShareEnum) -> Any:
    request = call()
    request["ServerName"] = NULL
    request["PreferedMaximumLength"] = maximum
    request["ResumeHandle"] = resume
    request["InfoStruct"]["ShareInfo"]["tag"] = 0
    request["InfoStruct"]["Level"] = 0
    request["InfoStruct"]["ShareInfo"]["Level0"]["Buffer"] = NULL
    return client.request(request, checkError=False)


@pytest.mark.parametrize("maximum", [0, 1, 100, 1000, EVERYTHING])
def test_enumeration_goes_on_where_it_stopped(maximum: int) -> None:
    names = [f"share{number}" for number in range(50)]
    client = connect("srvsvc", srvs.MSRPC_UUID_SRVS, shares=[ShareView(name) for name in names])
    found: list[str] = []
    resume, code = 0, MORE_DATA
    while code == MORE_DATA:
        answer = share_enum(client, maximum, resume)
        assert answer["TotalEntries"] == 50 - len(found)
        found += [text(row["shi0_netname"]) for row in rows(answer, 0)]
        resume, code = answer["ResumeHandle"], answer["ErrorCode"]
    assert (code, found) == (0, names)


def test_no_shares_are_an_empty_list() -> None:
    client = connect("srvsvc", srvs.MSRPC_UUID_SRVS, shares=[ShareView("x", hidden=True)])
    answer = share_enum(client, EVERYTHING, 0)
    assert (answer["ErrorCode"], answer["TotalEntries"]) == (0, 0)


def test_resume_handle_past_the_end_finds_nothing(user: Any) -> None:
    assert share_enum(user, EVERYTHING, 99)["TotalEntries"] == 0


def test_many_shares_come_in_many_fragments() -> None:
    shares = [ShareView(f"share{number}", "remark " * 10) for number in range(1000)]
    client = connect("srvsvc", srvs.MSRPC_UUID_SRVS, shares=shares)
    assert len(rows(srvs.hNetrShareEnum(client, 1), 1)) == 1000


def test_sticky_shares_are_all_shares_at_one_level_less(admin: Any) -> None:
    assert len(rows(srvs.hNetrShareEnumSticky(admin, 502), 502)) == 3
    assert error_of(srvs.hNetrShareEnumSticky, admin, 501) == INVALID_LEVEL


@pytest.mark.parametrize("level", [0, 1, 501, 1004, 1005, 1006])
def test_share_information_is_for_everybody(server: Any, level: int) -> None:
    assert srvs.hNetrShareGetInfo(server, "DATA\0", level)["InfoStruct"]["tag"] == level


@pytest.mark.parametrize("level", [2, 502, 503, 1501])
def test_share_information_with_paths_is_for_administrators(user: Any, admin: Any, level: int) -> None:
    assert error_of(srvs.hNetrShareGetInfo, user, "data\0", level) == ACCESS_DENIED
    assert srvs.hNetrShareGetInfo(admin, "data\0", level)["InfoStruct"]["tag"] == level


def test_share_information_says_that_a_share_is_encrypted(user: Any) -> None:
    flags = srvs.hNetrShareGetInfo(user, "data\0", 1005)["InfoStruct"]["ShareInfo1005"]["shi1005_flags"]
    assert flags == srvs.SHI1005_FLAGS_ENCRYPT_DATA


def test_administrators_see_the_descriptor_of_a_share() -> None:
    descriptor = pack_security_descriptor(ShareSecurity().descriptor())
    view = ShareView("data", security=descriptor, access_based_enumeration=True)
    client = connect("srvsvc", srvs.MSRPC_UUID_SRVS, ADMINISTRATOR, [view])
    found = srvs.hNetrShareGetInfo(client, "data\0", 502)["InfoStruct"]["ShareInfo502"]
    assert b"".join(found["shi502_security_descriptor"]) == descriptor
    flags = srvs.hNetrShareGetInfo(client, "data\0", 1005)["InfoStruct"]["ShareInfo1005"]["shi1005_flags"]
    assert flags == srvs.SHI1005_FLAGS_ACCESS_BASED_DIRECTORY_ENUM


def test_share_that_is_not_there_is_not_found(user: Any) -> None:
    assert error_of(srvs.hNetrShareGetInfo, user, "none\0", 1) == NET_NAME_NOT_FOUND
    assert error_of(srvs.hNetrShareGetInfo, user, "data\0", 1007) == INVALID_LEVEL


def test_share_is_found_by_its_path(user: Any) -> None:
    assert srvs.hNetrShareCheck(user, "c:\\DATA\0")["Type"] == 0
    assert error_of(srvs.hNetrShareCheck, user, "D:\\\0") == DEVICE_NOT_SHARED


def test_server_tells_its_name_and_version(server: Any) -> None:
    info = srvs.hNetrServerGetInfo(server, 101)["InfoStruct"]["ServerInfo101"]
    assert (text(info["sv101_name"]), text(info["sv101_comment"])) == ("LAMINA", "a server")
    assert (info["sv101_version_major"], info["sv101_version_minor"], info["sv101_platform_id"]) == (6, 1, 500)


def test_more_about_the_server_is_for_administrators(user: Any, admin: Any) -> None:
    for level in (102, 103):
        assert error_of(srvs.hNetrServerGetInfo, user, level) == ACCESS_DENIED
        assert srvs.hNetrServerGetInfo(admin, level)["InfoStruct"]["tag"] == level
    assert error_of(srvs.hNetrServerGetInfo, admin, 502) == INVALID_LEVEL


def test_time_of_day_is_in_utc(user: Any) -> None:
    tod = srvs.hNetrRemoteTOD(user)["BufferPtr"]
    assert (tod["tod_elapsedt"], tod["tod_msecs"], tod["tod_timezone"]) == (1_000_000_000, 12_500, 0)
    assert tuple(tod[f"tod_{part}"] for part in ("hours", "mins", "secs", "hunds")) == (1, 46, 40, 25)
    assert tuple(tod[f"tod_{part}"] for part in ("day", "month", "year", "weekday")) == (9, 9, 2001, 0)


def test_other_users_doings_are_for_administrators(user: Any) -> None:
    assert error_of(srvs.hNetrSessionEnum, user, NULL, NULL, 10) == ACCESS_DENIED
    assert error_of(srvs.hNetrFileEnum, user, NULL, NULL, 3) == ACCESS_DENIED
    assert error_of(srvs.hNetrConnectionEnum, user, "data\0", 1) == ACCESS_DENIED


@pytest.mark.parametrize("level", [0, 1, 2, 10, 502])
def test_sessions_are_listed(admin: Any, level: int) -> None:
    found = rows(srvs.hNetrSessionEnum(admin, NULL, NULL, level), level)
    assert [text(row[f"sesi{level}_cname"]) for row in found] == ["\\\\10.0.0.1", "\\\\10.0.0.2"]


def test_sessions_are_selected_by_client_and_user(admin: Any) -> None:
    assert len(rows(srvs.hNetrSessionEnum(admin, "\\\\10.0.0.2\0", NULL, 10), 10)) == 1
    assert len(rows(srvs.hNetrSessionEnum(admin, NULL, "BOB\0", 10), 10)) == 1
    assert error_of(srvs.hNetrSessionEnum, admin, "10.0.0.2\0", NULL, 10) == CLIENT_NAME_NOT_FOUND
    assert error_of(srvs.hNetrSessionEnum, admin, NULL, "nobody\0", 10) == USER_NOT_FOUND


def test_open_files_are_listed_and_selected(admin: Any) -> None:
    assert [row["fi2_id"] for row in rows(srvs.hNetrFileEnum(admin, NULL, NULL, 2), 2)] == [7, 8]
    found = rows(srvs.hNetrFileEnum(admin, "c:\\data\\x\0", "bob\0", 3), 3)
    assert [(text(row["fi3_path_name"]), row["fi3_num_locks"]) for row in found] == [("C:\\data\\x.txt", 3)]


def test_connections_are_listed_by_share_or_client(admin: Any) -> None:
    by_share = rows(srvs.hNetrConnectionEnum(admin, "data\0", 1), 1)
    assert [text(row["coni1_username"]) for row in by_share] == ["bob"]
    by_client = rows(srvs.hNetrConnectionEnum(admin, "\\\\10.0.0.2\0", 0), 0)
    assert [row["coni0_id"] for row in by_client] == [2]
    assert error_of(srvs.hNetrConnectionEnum, admin, "none\0", 1) == NET_NAME_NOT_FOUND
    assert error_of(srvs.hNetrConnectionEnum, admin, "\0", 1) == INVALID_PARAMETER


@pytest.mark.parametrize(
    ("name", "name_type", "flags", "expected"),
    [
        ("share", 9, 0, 0),
        ("s" * 80, 9, 0, 0),
        ("s" * 81, 9, 0, INVALID_NAME),
        ("s" * 13, 9, 0x80000000, INVALID_NAME),
        ("a/b", 9, 0, INVALID_NAME),
        ("", 9, 0, INVALID_NAME),
        ("share", 14, 0, INVALID_PARAMETER),
        ("share", 9, 1, INVALID_PARAMETER),
    ],
)
def test_names_are_validated(user: Any, name: str, name_type: int, flags: int, expected: int) -> None:
    request = srvs.NetprNameValidate()
    request["ServerName"] = NULL
    request["Name"] = name + "\0"
    request["NameType"] = name_type
    request["Flags"] = flags
    assert user.request(request, checkError=False)["ErrorCode"] == expected


@pytest.fixture
def workstation(token: ImpersonationToken) -> Any:
    return connect("wkssvc", wkst.MSRPC_UUID_WKST, token)


@pytest.mark.parametrize("level", [100, 101])
def test_workstation_tells_its_name_and_domain(workstation: Any, level: int) -> None:
    info = wkst.hNetrWkstaGetInfo(workstation, level)["WkstaInfo"][f"WkstaInfo{level}"]
    assert text(info[f"wki{level}_computername"]) == "LAMINA"
    assert text(info[f"wki{level}_langroup"]) == "WORKGROUP"


def test_logged_on_users_are_for_administrators() -> None:
    denied = connect("wkssvc", wkst.MSRPC_UUID_WKST, USER)
    assert error_of(wkst.hNetrWkstaGetInfo, denied, 102) == ACCESS_DENIED
    assert error_of(wkst.hNetrWkstaUserEnum, denied, 1) == ACCESS_DENIED
    client = connect("wkssvc", wkst.MSRPC_UUID_WKST, ADMINISTRATOR)
    assert wkst.hNetrWkstaGetInfo(client, 102)["WkstaInfo"]["WkstaInfo102"]["wki102_logged_on_users"] == 2
    found = wkst.hNetrWkstaUserEnum(client, 1)["UserInfo"]["WkstaUserInfo"]["Level1"]["Buffer"]
    assert [text(row["wkui1_username"]) for row in found] == ["bob", "eve"]
