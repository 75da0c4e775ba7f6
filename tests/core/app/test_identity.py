"""`lamina id` and `lamina check`: who somebody is by a configuration; and that a reload changes it."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from lamina.core.auth.account_database import SqliteAccounts
from lamina.core.auth.settings import AuthSettings
from lamina.core.identity.settings import DomainSettings, IdentitySettings
from lamina.core.plan import ShareSpec
from tests.support.served import PASSWORD, USER, Served

Command = Callable[..., Any]
SID = "S-1-5-21-1-2-3"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "homes").mkdir()
    (tmp_path / "keytab").write_bytes(b"\5\2")
    text = f"""
        [server]
        accounts = "accounts.db"
        state = "state"
        keytab = "keytab"
        [identity.users]
        "S-1-5-21-9-9-9-1" = 5001
        [identity.domain.LAMAD]
        sid = "{SID}"
        range = "100000-199999"
        [identity.domain.LATER]
        sid = "S-1-5-21-4-5-6"
        method = "allocate"
        range = "200000-299999"
        [share.home]
        path = "homes/%U"
        """
    (tmp_path / "lamina.toml").write_text(dedent(text))
    accounts = SqliteAccounts(tmp_path / "accounts.db")
    accounts.add("alice", "x", uid=4001, gid=4002)
    accounts.close()
    return tmp_path / "lamina.toml"


@pytest.mark.parametrize(
    ("who", "line"),
    [
        ("alice", "is uid 4001: of the accounts"),
        ("4001", "uid 4001 is S-1-5-21-"),
        ("S-1-5-21-9-9-9-1", "S-1-5-21-9-9-9-1 is uid 5001: decreed in [identity.users]"),
        ("LAMAD\\domain users", f"{SID}-513 is gid 100513: of LAMAD, whose relative ids 0-99999 are 100000-199999"),
        ("101102", f"uid 101102 is {SID}-1102: of LAMAD"),
        ("S-1-22-2-7", "S-1-22-2-7 is gid 7"),
    ],
)
def test_who_somebody_is_is_told_with_the_reason(lamina: Command, config: Path, who: str, line: str) -> None:
    done = lamina("id", who, "-c", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert line in done.stdout


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("no-such-user-here", "nobody is called no-such-user-here"),
        ("S-1-5-21-4-5-6-1000", "has no uid and no gid: it is of LATER, whose users and groups get 200000-299999"),
        ("S-1-5-21-8-8-8-8", "of no domain that is configured"),
    ],
)
def test_who_is_nobody_is_told_so(lamina: Command, config: Path, who: str, why: str) -> None:
    done = lamina("id", who, "-c", config)
    assert done.returncode == 1
    assert why in done.stderr


def test_check_tells_the_rules(lamina: Command, config: Path) -> None:
    done = lamina("check", config)
    assert done.returncode == 0, done.stderr
    assert f"identity: domain LAMAD ({SID}), whose relative ids 0-99999 are 100000-199999\n" in done.stdout
    assert "identity: 1 users decreed\n" in done.stdout


def test_a_reload_changes_who_somebody_is(tmp_path: Path) -> None:
    """Through the one map that all volumes have; and the failures of guessers stay counted."""
    import lamina

    with Served(lamina.Server({"data": ShareSpec(tmp_path)}, users={USER: PASSWORD}), tmp_path) as served:
        with served.server:
            runtime = served.server.runtime
            domain = DomainSettings("LAMAD", SID, low=1000, high=1999)
            before = runtime.server.authenticator
            volume = runtime.shares()["data"].volume
            assert volume is not None
            assert volume.identities.uid_of_sid(f"{SID}-5") is None
            new = served.call(lambda: runtime.authenticator_for(AuthSettings(identity=IdentitySettings((domain,)))))
            assert volume.identities.uid_of_sid(f"{SID}-5") is None
            served.call(lambda: runtime.authenticate_by(new))
            assert volume.identities.uid_of_sid(f"{SID}-5") == 1005
            assert runtime.server.authenticator.throttle is before.throttle
            with pytest.raises(OSError, match="keytab"):
                served.call(lambda: runtime.authenticator_for(AuthSettings(keytab="/no/such.keytab")))
            assert runtime.server.authenticator is new
