"""Configuration files: broken ones are told exactly what is wrong, all of it; right ones make the plan they say."""

from dataclasses import asdict
from pathlib import Path
from textwrap import dedent

import pytest

from lamina.core.config.diagnostics import ConfigurationError
from lamina.core.config.loading import Configuration, load, parse
from lamina.core.config.model import LimitsTable
from lamina.core.identity.settings import DomainSettings
from lamina.core.plan import Listener, ModuleSpec
from lamina.core.settings import Dialect, EncryptionPolicy, Limits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


def problems(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(dedent(text), folder / "lamina.toml")
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def configuration(text: str, folder: Path) -> Configuration:
    return parse(dedent(text), folder / "lamina.toml")


SHARE = '[share.data]\npath = "data"\n'

BROKEN = {
    "syntax": ("[server]\nname = \n", ["lamina.toml:2: not TOML: Invalid value"]),
    "unfinished": ('x = """\nabc', ["lamina.toml:2: not TOML: Unterminated string"]),
    "no share": ("[server]\n", ["lamina.toml: share: there is none; add [share.NAME] with a path"]),
    "unknown table": (
        SHARE + "[shares.x]\n",
        ["lamina.toml:3: shares: unknown table; did you mean 'share'?"],
    ),
    "identity of a wrong kind": (
        '[identity.domain.D]\nsid = "S-1-5-21-1-2-3"\nrange = "5-4"\n[identity.users]\n"S-1-x" = 5\n' + SHARE,
        [
            "lamina.toml:3: identity.domain.D.range: must go from 1 or more up, to 4294967294 at most",
            """lamina.toml:5: identity.users.S-1-x: must be a SID such as "S-1-5-21-1-2-3-1000", not 'S-1-x'""",
        ],
    ),
    "ranges that overlap": (
        '[server]\nkeytab = "file"\n[identity.domain.A]\nsid = "S-1-5-21-1-2-3"\nrange = "1000-1999"\n'
        '[identity.domain.B]\nsid = "S-1-5-21-4-5-6"\nrange = "1900-2900"\n' + SHARE,
        ["lamina.toml:8: identity.domain.B.range: the ids 1900-1999 are in the range of A (1000-1999), too"],
    ),
    "a domain without a keytab, and nobody who could log on": (
        '[server]\nntlm = false\n[identity.domain.A]\nsid = "S-1-5-21-1-2-3"\nrange = "1000-1999"\n' + SHARE,
        [
            "lamina.toml:2: server.ntlm: nobody could log on: without NTLM there must be a keytab",
            "lamina.toml:3: identity.domain: users of domains come with tickets: [server] needs a keytab",
        ],
    ),
    "a substitution that there is not": (
        '[share.data]\npath = "data/%x"\n',
        [
            "lamina.toml:2: share.data.path: there is no substitution %x (%U, %u, %D, %I, %m, %S, %h, %T, %%); "
            "a folder with % in its name is written with %%"
        ],
    ),
    "a path that leads out": (
        '[share.data]\npath = "data/%U/../x"\n',
        ["lamina.toml:2: share.data.path: must not have .. behind a substitution"],
    ),
    "a folder above a substitution that is not there": (
        '[share.data]\npath = "dada/%U"\n',
        ["lamina.toml:2: share.data.path: there is no folder {folder}/dada; did you mean 'data'?"],
    ),
    "a substitution where it means nothing": (
        SHARE + 'chain = ["audit", "posix"]\n[share.data.audit]\nfile = "/x/%U"\n',
        ["lamina.toml:5: share.data.audit.file: %U stands for nothing here (%S, %%)"],
    ),
    "unknown server key": (
        "[server]\nlissten = []\n" + SHARE,
        ["lamina.toml:2: server.lissten: unknown key; did you mean 'listen'?"],
    ),
    "unknown key with nothing near": ("[server]\nzzz = 1\n" + SHARE, ["lamina.toml:2: server.zzz: unknown key"]),
    "unknown limit": (
        "[server.limits]\ncredit = 3\n" + SHARE,
        ["lamina.toml:2: server.limits.credit: unknown key; did you mean 'credits'?"],
    ),
    "limit of nothing": (
        "[server.limits]\ncredits = 0\n" + SHARE,
        ["lamina.toml:2: server.limits.credits: must be more than 0"],
    ),
    "wrong types": (
        '[server]\nguest = "yes"\nlisten = ":445"\nmax_io = true\n' + SHARE,
        [
            "lamina.toml:2: server.guest: must be true or false",
            "lamina.toml:3: server.listen: must be a list",
            'lamina.toml:4: server.max_io: must be a size in bytes, such as 65536, "512 KiB" or "8 MiB"',
        ],
    ),
    "hidden path": (
        SHARE + 'hide_files = ["ok", "a/b"]\n',
        ["lamina.toml:3: share.data.hide_files[2]: cannot be 'a/b'"],
    ),
    "size too large": (
        '[server]\nmax_io = "9 MiB"\n' + SHARE,
        ["lamina.toml:2: server.max_io: must be at most 8388608"],
    ),
    "unknown choice": (
        '[server]\nsigning = "requird"\n' + SHARE,
        ["lamina.toml:2: server.signing: must be 'required' or 'desired', not 'requird'; did you mean 'required'?"],
    ),
    "dialects upside down": (
        '[server]\nmin_dialect = "3.0"\nmax_dialect = "2.1"\n' + SHARE,
        ["lamina.toml:2: server.min_dialect: 3.0 is newer than max_dialect, 2.1"],
    ),
    "encryption no dialect can do": (
        '[server]\nencryption = "required"\nmax_dialect = "2.1"\n' + SHARE,
        ['lamina.toml:2: server.encryption: cannot be "required": max_dialect is older than 3.0'],
    ),
    "listeners": (
        '[server]\nlisten = [\n  "*:445",\n  "*:445",\n  "::1:445",\n  "*:99999",\n]\n' + SHARE,
        [
            'lamina.toml:4: server.listen[2]: "*:445" is listed twice',
            'lamina.toml:5: server.listen[3]: must have its IPv6 address in brackets, such as "[::1]:445", '
            'not "::1:445"',
            'lamina.toml:6: server.listen[4]: must be "address:port" with a port from 0 to 65535, such as "*:445", '
            'not "*:99999"',
        ],
    ),
    "missing keytab": (
        '[server]\nkeytab = "nowhere"\n' + SHARE,
        ["lamina.toml:2: server.keytab: {folder}/nowhere cannot be read"],
    ),
    "no path": ("[share.data]\n", ["lamina.toml:1: share.data.path: is missing"]),
    "no such folder": (
        '[share.data]\npath = "dota"\n',
        ["lamina.toml:2: share.data.path: there is no folder {folder}/dota; did you mean 'data'?"],
    ),
    "a file": ('[share.data]\npath = "file"\n', ["lamina.toml:2: share.data.path: {folder}/file is not a folder"]),
    "unknown share key": (
        SHARE + "readonly = true\n",
        ["lamina.toml:3: share.data.readonly: unknown key; did you mean 'read_only'?"],
    ),
    "share is no table": ("share.data = 3\n", ["lamina.toml:1: share.data: must be a table: [share.NAME]"]),
    "share names": (
        '[share."a/b"]\npath = "data"\n[share.IPC$]\n'.replace("IPC$", '"IPC$"')
        + 'path = "data"\n[share.x]\npath = "data"\n[share.X]\npath = "data"\n',
        [
            'lamina.toml:1: share."a/b": is no name for a share (1 to 80 characters, none of \\/[]:|<>+=;,*?")',
            'lamina.toml:3: share."IPC$": is a reserved name',
            "lamina.toml:7: share.X: is the same name as 'x': case does not count",
        ],
    ),
    "guest share without guests": (
        SHARE + "guest = true\n",
        ["lamina.toml:3: share.data.guest: guests are not admitted: set guest = true in [server] too"],
    ),
    "empty chain": (SHARE + "chain = []\n", ["lamina.toml:3: share.data.chain: must not be empty"]),
    "no backend": (
        SHARE + 'chain = ["dos_attributes"]\n',
        ["lamina.toml:3: share.data.chain[1]: module 'dos_attributes' stands last but is no backend"],
    ),
    "backend in between": (
        SHARE + 'chain = [\n"posix",\n"dos_attributes",\n]\n',
        [
            "lamina.toml:4: share.data.chain[1]: module 'posix' is a backend and must stand last",
            "lamina.toml:5: share.data.chain[2]: module 'dos_attributes' stands last but is no backend",
        ],
    ),
    "twice": (
        SHARE + 'chain = ["dos_attributes", "dos_attributes", "posix"]\n',
        ["lamina.toml:3: share.data.chain[2]: module 'dos_attributes' stands in the chain twice"],
    ),
    "wrong order": (
        SHARE + 'chain = ["streams_xattr", "fruit", "dos_attributes", "posix"]\n',
        [
            "lamina.toml:3: share.data.chain: 'fruit' must stand above 'streams_xattr', which provides 'streams'; "
            'the right order is ["fruit", "streams_xattr", "dos_attributes", "posix"]'
        ],
    ),
    "two that exclude each other": (
        SHARE + 'chain = ["streams_xattr", "streams_depot", "posix"]\n',
        ["lamina.toml:3: share.data.chain: 'streams_xattr' and 'streams_depot' cannot be in one chain"],
    ),
    "an option under two names": (
        SHARE + '[share.data.streams_xattr]\nprefix = "user.x."\n"streams_xattr:prefix" = "user.y."\n',
        ["lamina.toml:3: share.data.streams_xattr: 'prefix' is given twice, once as Samba calls it"],
    ),
    "options of a stranger": (
        SHARE + "[share.data.dos_atributes]\nx = 1\n",
        [
            "lamina.toml:3: share.data.dos_atributes: the chain has no module of this name; "
            "did you mean 'dos_attributes'?"
        ],
    ),
    "unknown option": (
        SHARE + "[share.data.posix]\nqqq = 1\n",
        ["lamina.toml:4: share.data.posix.qqq: unknown key"],
    ),
    "everything at once": (
        '[server]\nnam = "x"\n[share.a]\npath = "no"\ncomment = 3\n[share.b]\nchain = ["nosuch"]\n',
        None,
    ),
}


@pytest.mark.parametrize("case", [name for name, (_, expected) in BROKEN.items() if expected is not None])
def test_a_broken_file_is_told_what_is_wrong_and_where(case: str, folder: Path) -> None:
    text, expected = BROKEN[case]
    assert expected is not None
    assert problems(text, folder) == [line.replace("{folder}", str(folder)) for line in expected]


def test_every_fault_is_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    lines = problems(BROKEN["everything at once"][0], folder)
    assert [line.split(": ")[:2] for line in lines] == [
        ["lamina.toml:2", "server.nam"],
        ["lamina.toml:5", "share.a.comment"],
        ["lamina.toml:6", "share.b.path"],
        ["lamina.toml:7", "share.b.chain[1]"],
    ]


def test_an_unknown_module_is_told_with_the_nearest_name(folder: Path) -> None:
    (line,) = problems(SHARE + 'chain = ["dos_atributes", "posix"]\n', folder)
    assert line.startswith("lamina.toml:3: share.data.chain[1]: there is no module 'dos_atributes'")
    assert "did you mean 'dos_attributes'?" in line


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: No such file or directory"


def test_a_file_that_is_not_utf8_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load(tmp_path / "x.toml")


def test_the_least_file_has_safe_defaults(folder: Path) -> None:
    plan = configuration(SHARE, folder).plan
    assert plan.settings.require_signing
    assert plan.listeners == (Listener("", 445),)
    share = plan.shares["data"]
    assert share.path == folder / "data"
    assert not share.guest
    modules = [link.module for link in share.chain if isinstance(link, ModuleSpec)]
    assert modules == ["streams_xattr", "dos_attributes", "posix"]


def test_what_a_file_says_is_in_the_plan(folder: Path) -> None:
    text = """
        [server]
        name = "FILES"
        listen = ["127.0.0.1:4445", "[::1]:4445"]
        min_dialect = "3.0"
        signing = "desired"
        encryption = "required"
        max_io = "1 MiB"
        guest = true
        accounts = "accounts.db"
        limits.credits = 100

        [share.Data]
        path = "data"
        comment = "All of it"
        read_only = true
        guest = true
        allow = ["Alice", "S-1-5-32-544"]
        hide_files = ["lost+found"]
        change_notify = "share"
        write_time_delay = 0.5
        access_based_enumeration = true
        access = { alice = "change", "authenticated users" = "read" }
    """
    result = configuration(text, folder)
    settings, share = result.plan.settings, result.plan.shares["Data"]
    assert (settings.name, settings.min_dialect, settings.max_io) == ("FILES", Dialect.SMB_3_0, 1 << 20)
    assert settings.encryption is EncryptionPolicy.REQUIRED
    assert settings.limits.credits == 100
    assert not settings.require_signing
    assert result.plan.listeners == (Listener("127.0.0.1", 4445), Listener("::1", 4445))
    assert result.accounts == folder / "accounts.db"
    assert str(result.plan.state) == "/var/lib/lamina/state"
    assert result.authentication.allow_guest
    assert (share.comment, share.read_only, share.guest) == ("All of it", True, True)
    assert share.allow == {"Alice", "S-1-5-32-544"}
    assert share.hide_files == {"lost+found"}
    assert share.change_notify == "share"
    assert share.write_time_delay == 0.5
    assert share.access_based_enumeration
    assert share.access == {"alice": "change", "authenticated users": "read"}


def test_the_chains_of_a_right_file_can_be_explained(folder: Path) -> None:
    chain = configuration(SHARE, folder).chains()["data"]
    assert chain.explain()["get_dos_attributes"][0] == "dos_attributes"
    assert chain.explain()["pread"] == ("posix",)


def test_the_limits_of_a_file_are_those_of_the_server() -> None:
    assert LimitsTable().model_dump() == asdict(Limits())


def test_who_is_who_is_in_the_settings_of_authentication(folder: Path) -> None:
    text = """
        [server]
        keytab = ["file", "file"]
        state = "state"
        [identity]
        name_service_timeout = 2
        [identity.users]
        "S-1-5-21-9-9-9-1" = 5001
        [identity.domain.LAMAD]
        sid = "s-1-5-21-1-2-3"
        range = "100000-199999"
        base_rid = 1000
        [identity.domain.OTHER]
        sid = "S-1-5-21-4-5-6"
        method = "nss"
        user_name = "%U@other"
        administrators = true
        """
    authentication = configuration(dedent(text) + SHARE, folder).authentication
    assert authentication.keytab == f"{folder}/file:{folder}/file"
    identity = authentication.identity
    assert (identity.timeout, identity.users, identity.store) == (
        2,
        {"S-1-5-21-9-9-9-1": 5001},
        f"{folder}/state/identities.db",
    )
    assert identity.domains == (
        DomainSettings("LAMAD", "S-1-5-21-1-2-3", low=100000, high=199999, base_rid=1000),
        DomainSettings("OTHER", "S-1-5-21-4-5-6", method="nss", user_name="%U@other", administrators=True),
    )


def test_a_path_with_substitutions_is_a_folder_and_what_is_beneath(folder: Path) -> None:
    (folder / "100%").mkdir()
    text = '[share.home]\npath = "data/%U/%S"\nplaces = 5\n[share.plain]\npath = "100%%"\n'
    shares = configuration(text, folder).plan.shares
    assert (shares["home"].path, shares["home"].template) == (folder / "data", f"{folder}/data/%U/%S")
    assert shares["home"].places == 5
    assert (shares["plain"].path, shares["plain"].template) == (folder / "100%", "")
