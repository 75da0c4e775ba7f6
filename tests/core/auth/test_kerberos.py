"""Kerberos: our acceptor against pyspnego's client and a real KDC on loopback."""

import os
import pwd
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import spnego
from spnego._spnego import NegTokenInit, unpack_token

from lamina.core.auth.accounts import MemoryAccounts
from lamina.core.auth.authenticator import Authenticator
from lamina.core.auth.kerberos import KerberosUnavailableError
from lamina.core.auth.settings import AuthSettings
from lamina.core.identity.settings import DomainSettings, IdentitySettings
from lamina.ntfsa.status import NtStatus, NtStatusError
from tests.core.auth.helpers import ADDRESS, UNTHROTTLED, Client, accounts_of, authenticate, ntlm_client
from tests.support import kdc as kdc_support
from tests.support.kdc import PASSWORD, REALM, Kdc, running_kdc

gssapi = pytest.importorskip("gssapi", reason="install the extra lamina[kerberos] (needs libkrb5-dev and a compiler)")


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    if lacking := kdc_support.missing():
        pytest.skip(lacking)
    with running_kdc(tmp_path_factory.mktemp("kdc")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


def settings_for(kdc: Kdc) -> AuthSettings:
    return replace(UNTHROTTLED, keytab=str(kdc.keytab), realm=REALM)


@pytest.fixture
def authenticator(kdc: Kdc) -> Authenticator:
    return Authenticator(accounts_of("alice"), settings_for(kdc))


def client(user: str = "alice", protocol: str = "negotiate", host: str = "localhost", service: str = "cifs") -> Client:
    made: Client = spnego.client(f"{user}@{REALM}", PASSWORD, hostname=host, service=service, protocol=protocol)
    return made


@pytest.mark.parametrize("protocol", ["kerberos", "negotiate"])
def test_a_ticket_logs_on_with_the_same_key_and_ends_with_it(authenticator: Authenticator, protocol: str) -> None:
    outcome = authenticate(authenticator, client(protocol=protocol))
    who = outcome.authenticated
    assert who.session_key == outcome.client.session_key
    assert len(who.session_key) == 32
    assert who.user == "alice"
    assert who.domain == REALM
    assert who.token.user_name == "alice"
    assert who.expires_at is not None
    clock_skew = 300
    assert 9 * 3600 < who.expires_at - time.time() <= 10 * 3600 + clock_skew + 5


def test_any_service_of_the_keytab_is_accepted(authenticator: Authenticator) -> None:
    assert authenticate(authenticator, client(host="files.lamina.test")).authenticated.user == "alice"


def test_a_principal_without_an_account_is_refused(authenticator: Authenticator) -> None:
    with pytest.raises(NtStatusError) as caught:
        authenticate(authenticator, client("mallory"))
    assert caught.value.status is NtStatus.LOGON_FAILURE


def test_a_disabled_account_is_refused(authenticator: Authenticator) -> None:
    authenticator.accounts.set_disabled("alice")  # type: ignore[attr-defined]
    with pytest.raises(NtStatusError) as caught:
        authenticate(authenticator, client())
    assert caught.value.status is NtStatus.ACCOUNT_DISABLED


def test_a_principal_of_another_realm_is_not_his_namesake(kdc: Kdc) -> None:
    foreign = Authenticator(accounts_of("alice"), replace(settings_for(kdc), realm="OTHER.TEST"))
    with pytest.raises(NtStatusError):
        authenticate(foreign, client())


def test_an_account_may_be_called_by_the_whole_principal(kdc: Kdc) -> None:
    accounts = MemoryAccounts()
    accounts.add(f"alice@{REALM}", "unused")
    foreign = Authenticator(accounts, replace(settings_for(kdc), realm=""))
    assert authenticate(foreign, client()).authenticated.user == f"alice@{REALM}"


def test_a_ticket_is_not_accepted_twice(authenticator: Authenticator) -> None:
    token = client().step() or b""
    assert authenticator.begin(ADDRESS).step(token).authenticated is not None
    with pytest.raises(NtStatusError) as caught:
        authenticator.begin(ADDRESS).step(token)
    assert caught.value.status is NtStatus.LOGON_FAILURE


@pytest.mark.parametrize("at", [200, 400, -20])
def test_a_damaged_ticket_is_refused(authenticator: Authenticator, at: int) -> None:
    def damage(leg: int, token: bytes) -> bytes:
        changed = bytearray(token)
        changed[at] ^= 0x10
        return bytes(changed)

    with pytest.raises(NtStatusError) as caught:
        authenticate(authenticator, client(protocol="kerberos"), damage)
    assert caught.value.status in (NtStatus.LOGON_FAILURE, NtStatus.INVALID_PARAMETER)


def test_the_hint_names_kerberos_first_and_ntlm_still_works(authenticator: Authenticator) -> None:
    hint = unpack_token(authenticator.hint())
    assert isinstance(hint, NegTokenInit)
    assert hint.mech_types == ["1.2.840.48018.1.2.2", "1.2.840.113554.1.2.2", "1.3.6.1.4.1.311.2.2.10"]
    assert authenticate(authenticator, ntlm_client(protocol="ntlm")).authenticated.user == "alice"


def test_a_missing_or_empty_keytab_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(KerberosUnavailableError, match="does not exist"):
        Authenticator(MemoryAccounts(), AuthSettings(keytab=str(tmp_path / "no.keytab")))
    empty = tmp_path / "empty.keytab"
    empty.touch()
    with pytest.raises(KerberosUnavailableError, match="cannot be used"):
        Authenticator(MemoryAccounts(), AuthSettings(keytab=str(empty)))


def test_without_the_package_a_keytab_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(KerberosUnavailableError, match=r"lamina\[kerberos\]"):
        Authenticator(MemoryAccounts(), AuthSettings(keytab="/etc/krb5.keytab"))
    assert unpack_token(Authenticator(MemoryAccounts(), AuthSettings()).hint()).mech_types == ["1.3.6.1.4.1.311.2.2.10"]


@pytest.mark.parametrize(("enctype", "key_size"), [("aes256-cts-hmac-sha1-96", 32), ("aes128-cts-hmac-sha1-96", 16)])
def test_both_sizes_of_aes_are_served(
    authenticator: Authenticator, kdc: Kdc, monkeypatch: pytest.MonkeyPatch, enctype: str, key_size: int
) -> None:
    config = kdc.folder / f"{enctype}.conf"
    wanted = f"[libdefaults]\n default_tkt_enctypes = {enctype}\n default_tgs_enctypes = {enctype}"
    config.write_text((kdc.folder / "krb5.conf").read_text().replace("[libdefaults]", wanted))
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{kdc.folder}/{enctype}.ccache")
    outcome = authenticate(authenticator, client(protocol="kerberos"))
    assert outcome.authenticated.session_key == outcome.client.session_key
    assert len(outcome.client.session_key) == key_size


def test_the_server_proves_itself_too(authenticator: Authenticator) -> None:
    """Mutual authentication: the client is complete when it has seen the server's answer, and only by the true one."""
    for damage in (False, True):
        its = client(protocol="kerberos")
        step = authenticator.begin(ADDRESS).step(its.step() or b"")
        assert step.authenticated is not None
        assert not its.complete
        answer = bytearray(step.output)
        if damage:
            answer[-10] ^= 1
            with pytest.raises(spnego.exceptions.SpnegoError):
                its.step(bytes(answer))
        else:
            its.step(bytes(answer))
            assert its.complete


def test_several_keytabs_serve_each_its_own(kdc: Kdc, tmp_path: Path) -> None:
    """One of other services, and one with a stale key, before the right one."""
    other = tmp_path / "other.keytab"
    subprocess.run(
        ["ktutil"],
        input=f"addent -password -p host/x@{REALM} -k 1 -e aes256-cts\nno-such\nwkt {other}\nq\n",
        text=True,
        check=True,
        capture_output=True,
        env={**os.environ, **kdc.environment},
    )
    both = f"{other}:{kdc.keytab}"
    authenticator = Authenticator(accounts_of("alice"), replace(settings_for(kdc), keytab=both))
    assert authenticate(authenticator, client()).authenticated.user == "alice"
    alone = Authenticator(accounts_of("alice"), replace(settings_for(kdc), keytab=str(other)))
    with pytest.raises(NtStatusError):
        authenticate(alone, client())


def test_a_ticket_for_another_service_of_the_keytab_is_refused(authenticator: Authenticator) -> None:
    with pytest.raises(NtStatusError, match="no file service") as caught:
        authenticate(authenticator, client(service="HTTP"))
    assert caught.value.status is NtStatus.LOGON_FAILURE


def test_a_client_whose_clock_is_wrong_is_refused(
    authenticator: Authenticator, kdc: Kdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MIT's client takes the time from its cache's header: "the KDC's clock is so many seconds ahead"."""
    cache = kdc.folder / "skewed.ccache"
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{cache}")
    for command in (["kinit", f"alice@{REALM}"], ["kvno", "cifs/localhost"]):
        subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)
    content = bytearray(cache.read_bytes())
    assert content[:8] == bytes.fromhex("0504000c00010008")
    content[8:12] = struct.pack(">i", 3600)
    cache.write_bytes(content)
    name = gssapi.Name("cifs@localhost", gssapi.NameType.hostbased_service)
    context = gssapi.SecurityContext(name=name, usage="initiate", mech=gssapi.MechType.kerberos)
    with pytest.raises(NtStatusError, match="skew") as caught:
        authenticator.begin(ADDRESS).step(context.step())
    assert caught.value.status is NtStatus.LOGON_FAILURE


def test_a_client_without_a_ticket_goes_on_with_ntlm_unless_that_is_off(kdc: Kdc) -> None:
    assert (
        authenticate(
            Authenticator(accounts_of("alice"), settings_for(kdc)), ntlm_client(protocol="ntlm")
        ).authenticated.user
        == "alice"
    )
    strict = Authenticator(accounts_of("alice"), replace(settings_for(kdc), allow_ntlm=False))
    assert unpack_token(strict.hint()).mech_types == ["1.2.840.48018.1.2.2", "1.2.840.113554.1.2.2"]
    for protocol in ("ntlm", "negotiate"):
        with pytest.raises(NtStatusError) as caught:
            authenticate(strict, ntlm_client(protocol=protocol))
        assert caught.value.status is NtStatus.LOGON_FAILURE
    assert authenticate(strict, client()).authenticated.user == "alice"


def test_a_principal_of_a_realm_may_be_a_user_of_the_name_service(kdc: Kdc) -> None:
    """MIT's KDC says nothing of groups: the system does."""
    domain = DomainSettings("HOME", realm=REALM, method="nss", user_name="nobody")
    settings = replace(settings_for(kdc), identity=IdentitySettings((domain,)))
    who = authenticate(Authenticator(accounts_of(), settings), client("mallory")).authenticated
    assert (who.user, who.domain, who.token.uid) == ("mallory", "HOME", pwd.getpwnam("nobody").pw_uid)
    assert who.token.user_name == "HOME\\mallory"
    root = replace(settings, identity=IdentitySettings((replace(domain, user_name="root"),)))
    with pytest.raises(NtStatusError, match="would be root"):
        authenticate(Authenticator(accounts_of(), root), client("mallory"))
