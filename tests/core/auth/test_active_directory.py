"""Users of a real Active Directory domain: tickets with a PAC, from Samba's domain controller on loopback."""

import contextlib
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import spnego

from lamina.core.auth.authenticator import Authenticator
from lamina.core.auth.settings import AuthSettings
from lamina.core.identity.settings import DomainSettings, IdentitySettings
from lamina.ntfsa.status import NtStatus, NtStatusError
from tests.core.auth.helpers import UNTHROTTLED, accounts_of, authenticate
from tests.support import active_directory as ad
from tests.support.active_directory import DOMAIN, HOST, PASSWORD, REALM, ActiveDirectory
from tests.support.hosts import knowing
from tests.support.processes import Folder, Layout, ServerProcess, User, serving, shared_scratch

pytest.importorskip("gssapi", reason="install the extra lamina[kerberos] (needs libkrb5-dev and a compiler)")
pytestmark = [
    pytest.mark.skipif(bool(ad.missing()), reason=ad.missing()),
    pytest.mark.timeout(240),
    pytest.mark.slow,
]

LOW, HIGH = 200_000, 299_999
ADDRESS = f"127.{2 + os.getpid() % 250}.66.1"
"""Of this machine, and nobody else's: smbcacls knows no other port than 445."""


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ActiveDirectory]:
    with ad.running_domain(tmp_path_factory.mktemp("domain")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


def domain_sid(domain: ActiveDirectory) -> str:
    return domain.sids["ada"].rpartition("-")[0]


def mapped(domain: ActiveDirectory, **changes: object) -> DomainSettings:
    return replace(DomainSettings(DOMAIN, domain_sid(domain), low=LOW, high=HIGH), **changes)  # type: ignore[arg-type]


def settings(domain: ActiveDirectory, identity: IdentitySettings) -> AuthSettings:
    return replace(UNTHROTTLED, keytab=str(domain.keytab), identity=identity)


def log_on(authenticator: Authenticator, user: str = "ada"):
    client = spnego.client(f"{user}@{REALM}", PASSWORD, hostname=HOST, service="cifs", protocol="kerberos")
    return authenticate(authenticator, client).authenticated


def rid(sid: str) -> int:
    return int(sid.rpartition("-")[2])


def test_a_user_of_the_domain_has_its_groups_nested_ones_too_and_ids_of_its_range(domain: ActiveDirectory) -> None:
    who = log_on(Authenticator(accounts_of(), settings(domain, IdentitySettings((mapped(domain),)))))
    sids = domain.sids
    assert (who.user, who.domain, len(who.session_key)) == ("ada", DOMAIN, 32)
    token = who.token
    assert token.user_sid == sids["ada"]
    assert {sids[group] for group in ("inner", "outer", "local", "Domain Users")} <= token.group_sids
    assert sids["others"] not in token.group_sids
    assert token.uid == LOW + rid(sids["ada"])
    assert token.gid == LOW + 513
    assert set(token.groups) == {LOW + rid(sids[group]) for group in ("inner", "outer", "local", "Domain Users")}
    assert token.user_name == f"{DOMAIN}\\ada"
    assert (token.substitutions["U"], token.substitutions["u"], token.substitutions["D"]) == (
        "ada",
        "LAMAD+ada",
        DOMAIN,
    )


def test_without_the_domain_in_the_configuration_its_users_are_refused(domain: ActiveDirectory) -> None:
    other = mapped(domain, sid="S-1-5-21-1-2-3")
    for identity in (IdentitySettings(), IdentitySettings((other,))):
        with pytest.raises(NtStatusError, match="is not in") as caught:
            log_on(Authenticator(accounts_of(), settings(domain, identity)))
        assert caught.value.status is NtStatus.LOGON_FAILURE


def test_a_user_beyond_the_range_is_refused(domain: ActiveDirectory) -> None:
    narrow = mapped(domain, high=LOW + 600)
    with pytest.raises(NtStatusError, match="has no id"):
        log_on(Authenticator(accounts_of(), settings(domain, IdentitySettings((narrow,)))))


def test_allocated_ids_are_the_same_at_the_next_start(domain: ActiveDirectory, tmp_path: Path) -> None:
    identity = IdentitySettings((mapped(domain, method="allocate"),), store=str(tmp_path / "ids.db"))
    first = log_on(Authenticator(accounts_of(), settings(domain, identity))).token
    log_on(Authenticator(accounts_of(), settings(domain, identity)), "bea")
    second = log_on(Authenticator(accounts_of(), settings(domain, identity))).token
    assert (first.uid, first.gid, first.groups) == (second.uid, second.gid, second.groups)
    assert LOW <= first.uid < LOW + 10


def test_an_account_of_ours_keeps_its_uid_and_has_the_groups_of_the_domain(domain: ActiveDirectory) -> None:
    identity = IdentitySettings(groups={domain.sids["outer"]: 7001})
    authenticator = Authenticator(accounts_of("ada"), replace(settings(domain, identity), realm=REALM))
    token = log_on(authenticator).token
    assert token.uid == os.geteuid()
    assert token.user_sid.startswith(authenticator.accounts.machine_sid)
    assert {domain.sids["ada"], domain.sids["inner"], domain.sids["outer"]} <= token.group_sids
    assert 7001 in token.groups


@pytest.fixture(scope="module")
def served(domain: ActiveDirectory) -> Iterator[ServerProcess]:
    """A share with a folder for the group that ada is in by another group, on files that belong to domain's ids."""
    with shared_scratch() as scratch:
        (scratch / "share" / "for-outer").mkdir(parents=True)
        (scratch / "share" / "for-outer" / "plan.txt").write_text("secret")
        os.chmod(scratch / "share", 0o1777)
        os.chown(scratch / "share" / "for-outer", 0, LOW + rid(domain.sids["outer"]))
        os.chmod(scratch / "share" / "for-outer", 0o770)
        identity = {"domains": [{"name": DOMAIN, "sid": domain_sid(domain), "low": LOW, "high": HIGH}]}
        acl = (("streams_xattr", {}), ("acl_xattr", {"posix_acls": True}), ("dos_attributes", {}), ("posix", {}))
        layout = Layout(
            shares={
                "share": Folder(str(scratch / "share")),
                "lists": Folder(str(scratch / "share"), chain=acl),
                "outer": Folder(str(scratch / "share"), options={"allow": [domain.sids["outer"]]}),
            },
            users=[User("local", PASSWORD)],
            auth={"keytab": str(domain.keytab), "identity": identity},
        )
        with serving(layout, scratch / "state", "lamina") as server, forwarded(server.port):
            yield server


@contextlib.contextmanager
def forwarded(port: int) -> Iterator[None]:
    """What comes to port 445 of `ADDRESS` goes to a port of 127.0.0.1."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as target:
                back = threading.Thread(target=relay, args=(target, self.request))
                back.start()
                relay(self.request, target)
                back.join()

    with socketserver.ThreadingTCPServer((ADDRESS, 445), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


def relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def client(server: ServerProcess, *command: str) -> str:
    """What one of Samba's clients says, in which the server's name is that of `address`."""
    scratch = server.folder().parent
    whole = [*knowing(scratch, HOST, ADDRESS), *command]
    # A cache of its own: that of the machine may know the name by another address.
    own = [f"--option={kind} directory={scratch}" for kind in ("lock", "state", "cache")]
    whole += ["--use-kerberos=required", f"--option=realm={REALM}", *own]
    done = subprocess.run(whole, check=False, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def smbclient(server: ServerProcess, share: str, user: str, commands: str) -> str:
    return client(server, "smbclient", f"//{HOST}/{share}", "-U", f"{user}@{REALM}%{PASSWORD}", "-c", commands)


def test_the_group_lets_its_member_in_and_another_user_is_refused(served: ServerProcess) -> None:
    target = served.folder().parent / "got"
    assert "NT_STATUS" not in smbclient(served, "share", "ada", f"get for-outer\\plan.txt {target}")
    assert target.read_text() == "secret"
    assert "NT_STATUS_ACCESS_DENIED" in smbclient(served, "share", "bea", f"get for-outer\\plan.txt {target}-not")


def test_the_access_list_of_a_share_may_name_a_group_of_the_domain(served: ServerProcess) -> None:
    assert "NT_STATUS" not in smbclient(served, "outer", "ada", "ls")
    assert "NT_STATUS_ACCESS_DENIED" in smbclient(served, "outer", "bea", "ls")


def test_what_a_user_of_the_domain_makes_is_his(served: ServerProcess, domain: ActiveDirectory) -> None:
    assert "NT_STATUS" not in smbclient(served, "share", "bea", "mkdir of-bea")
    made = (served.folder() / "of-bea").stat()
    assert (made.st_uid, made.st_gid) == (LOW + rid(domain.sids["bea"]), LOW + 513)


def cacls(server: ServerProcess, user: str, *arguments: str) -> str:
    who = ["-U", f"{user}@{REALM}%{PASSWORD}"]
    return client(server, "smbcacls", f"//{HOST}/lists", "listed", *who, "--numeric", *arguments)


def test_an_entry_for_a_group_decides_and_an_owner_is_shown_by_his_sid(
    served: ServerProcess, domain: ActiveDirectory
) -> None:
    sids = domain.sids
    assert "NT_STATUS" not in smbclient(served, "lists", "bea", "mkdir listed; put /etc/hostname listed\\note")
    for group in ("local", "others"):
        entries = f"ACL:{sids['bea']}:0/3/0x001f01ff,ACL:{sids[group]}:0/3/0x001200a9"
        assert "NT_STATUS" not in cacls(served, "bea", "-S", entries)
        shown = cacls(served, "bea")
        assert f"OWNER:{sids['bea']}" in shown
        assert sids[group] in shown
        answer = smbclient(served, "lists", "ada", "ls listed\\*")
        assert ("NT_STATUS_ACCESS_DENIED" in answer) == (group == "others"), answer
