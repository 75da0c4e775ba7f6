"""The map between SIDs and POSIX ids: decree, range, allocation, accounts, name service; and what contradicts."""

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.auth.accounts import MemoryAccounts
from lamina.core.auth.pac import Pac
from lamina.core.identity.domain_users import (
    DomainUser,
    NoIdError,
    add_pac,
    believed_sids,
    domain_token,
    system_ids,
)
from lamina.core.identity.explain import explain
from lamina.core.identity.identities import Identities
from lamina.core.identity.name_service import NameService, NameServiceError, SystemGroup, SystemNames, SystemUser
from lamina.core.identity.ranges import id_of_rid, rid_of, sid_of_id
from lamina.core.identity.settings import DomainSettings, IdentitySettings, conflicts
from lamina.core.identity.store import IdStore, RangeFullError
from lamina.ntfsa.security.sid import BUILTIN_ADMINISTRATORS

SID = "S-1-5-21-1-2-3"
LAMAD = DomainSettings("LAMAD", SID, low=1000, high=1999, base_rid=500)


class Names(SystemNames):
    """A name service of two users and a group, that counts what it is asked, and may hang."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.go = threading.Event()
        self.go.set()

    def user(self, name: str) -> SystemUser | None:
        self.asked.append(name)
        self.go.wait(30)
        return {"ann": SystemUser("ann", 501, 50), "LAMAD\\ada": SystemUser("LAMAD\\ada", 502, 50)}.get(name)

    def user_of_uid(self, uid: int) -> SystemUser | None:
        self.asked.append(uid)
        self.go.wait(30)
        return SystemUser("ann", 501, 50) if uid == 501 else None

    def group(self, name: str) -> SystemGroup | None:
        return SystemGroup("staff", 50) if name == "staff" else None

    def group_of_gid(self, gid: int) -> SystemGroup | None:
        return SystemGroup("staff", 50) if gid == 50 else None

    def groups(self, name: str, gid: int) -> tuple[int, ...]:
        return (gid, 51)


def identities(settings: IdentitySettings | None = None, names: Names | None = None) -> Identities:
    return Identities(MemoryAccounts(), settings, NameService(names or Names(), timeout=5))


def pac(user_sid: str = f"{SID}-1102", groups: frozenset[str] = frozenset({f"{SID}-513"})) -> Pac:
    return Pac("ada", "LAMAD", SID, user_sid, f"{SID}-513", groups)


@given(
    rid=st.integers(0, 0xFFFFFFFF), low=st.integers(1, 1 << 31), size=st.integers(1, 1 << 20), base=st.integers(0, 2000)
)
def test_a_range_maps_both_ways_or_not_at_all(rid: int, low: int, size: int, base: int) -> None:
    domain = DomainSettings("D", SID, low=low, high=low + size - 1, base_rid=base)
    number = id_of_rid(domain, rid)
    assert (number is not None) == (base <= rid < base + size)
    if number is not None:
        assert low <= number < low + size
        assert sid_of_id(domain, number) == f"{SID}-{rid}"


@pytest.mark.parametrize(
    "sid",
    [SID, f"{SID}-", f"{SID}-1-2", f"{SID}-99999999999", f"{SID}--1", f"{SID}-x", "S-1-5-21-1-2-4-7", f"{SID}-\u0661"],
)
def test_what_is_no_sid_of_the_domain_has_no_relative_id(sid: str) -> None:
    assert rid_of(SID, sid) is None
    assert rid_of("", sid) is None


def test_the_order_is_decree_accounts_domains_and_the_id_itself() -> None:
    whole = identities(IdentitySettings((LAMAD,), users={f"{SID}-600": 77}, groups={"S-1-5-21-9-9-9-5": 88}))
    account = whole.accounts.add("ann", "x", uid=1501)  # type: ignore[attr-defined]
    assert whole.sid_of_uid(77) == f"{SID}-600"
    assert whole.uid_of_sid(f"{SID}-600") == 77
    assert whole.gid_of_sid(f"{SID}-600") is None
    assert whole.gid_of_sid("S-1-5-21-9-9-9-5") == 88
    assert whole.uid_of_sid("S-1-5-21-9-9-9-5") is None
    assert whole.sid_of_gid(88) == "S-1-5-21-9-9-9-5"
    assert whole.sid_of_uid(1501) == account.sid
    assert whole.sid_of_gid(1501) == f"{SID}-1001"
    assert (whole.uid_of_sid(f"{SID}-1002"), whole.gid_of_sid(f"{SID}-1002")) == (1502, 1502)
    assert whole.sid_of_uid(5) == "S-1-22-1-5"
    for sid, uid, gid in (
        ("S-1-22-1-5", 5, None),
        ("S-1-22-2-6", None, 6),
        ("S-1-5-88-1-5", 5, None),
        ("S-1-5-88-2-6", None, 6),
    ):
        assert (whole.uid_of_sid(sid), whole.gid_of_sid(sid)) == (uid, gid)
    assert whole.uid_of_sid("S-1-5-21-9-9-9-9") is None


def test_names_are_of_accounts_then_of_domains_then_of_the_system() -> None:
    whole = identities(IdentitySettings((LAMAD,)))
    assert whole.sid_of_name("LAMAD\\domain USERS") == f"{SID}-513"
    assert whole.sid_of_name("ann") == "S-1-22-1-501"
    assert whole.sid_of_name("staff") == "S-1-22-2-50"
    assert whole.sid_of_name("LAMAD\\nobody") is None
    assert identities(IdentitySettings(name_service=False)).sid_of_name("ann") is None


def test_settings_that_change_count_at_once() -> None:
    whole = identities()
    assert whole.uid_of_sid(f"{SID}-600") is None
    whole.apply(IdentitySettings((LAMAD,)))
    assert whole.uid_of_sid(f"{SID}-600") == 1100
    whole.apply(IdentitySettings())
    assert whole.uid_of_sid(f"{SID}-600") is None


# -- tokens


def test_what_is_not_a_domains_to_give_is_not_believed() -> None:
    own = "S-1-5-21-5-5-5"
    given_sids = frozenset(
        {f"{SID}-513", "S-1-18-1", BUILTIN_ADMINISTRATORS, "S-1-22-1-0", "S-1-5-18", f"{own}-1000", "S-1-5-88-1-0"}
    )
    assert believed_sids(pac(groups=given_sids), own) == {f"{SID}-513", "S-1-18-1"}
    accounts = MemoryAccounts(own)
    token = accounts.add("ada", "x").make_token(accounts)
    assert add_pac(token, pac(f"{own}-1000", given_sids), Identities(accounts)).group_sids == token.group_sids | {
        f"{SID}-513",
        "S-1-18-1",
    }


@pytest.mark.parametrize("user_sid", ["S-1-22-1-0", "S-1-5-18", "S-1-5-32-544"])
def test_nobody_of_this_machine_comes_as_a_domains_user(user_sid: str) -> None:
    whole = identities(IdentitySettings((LAMAD,)))
    with pytest.raises(NoIdError, match="no user of a domain"):
        domain_token(DomainUser("ada", LAMAD, pac(user_sid)), None, whole, {})


def test_a_pac_of_another_domain_has_no_ids_of_this_one() -> None:
    with pytest.raises(NoIdError, match="not of LAMAD"):
        domain_token(
            DomainUser("ada", LAMAD, Pac("a", "X", "S-1-22-2", f"{SID}-1000", "S-1-22-2-0", frozenset())),
            None,
            identities(IdentitySettings((LAMAD,))),
            {},
        )


@pytest.mark.parametrize("administrators", [True, False])
def test_domain_admins_administer_where_that_is_wanted(administrators: bool) -> None:
    domain = DomainSettings("LAMAD", SID, low=1000, high=1999, administrators=administrators)
    whole = identities(IdentitySettings((domain,)))
    who = DomainUser("ada", domain, pac(f"{SID}-900", frozenset({f"{SID}-512", f"{SID}-513"})))
    token = domain_token(who, None, whole, {})
    assert (BUILTIN_ADMINISTRATORS in token.group_sids) == administrators
    assert ("SeBackupPrivilege" in token.privileges) == administrators


def test_a_user_of_the_name_service_has_its_ids_and_his_sid_of_the_domain(tmp_path: Path) -> None:
    domain = DomainSettings("LAMAD", SID, method="nss")
    settings = IdentitySettings((domain,), store=str(tmp_path / "ids.db"))
    whole = identities(settings)
    system = system_ids("ada", domain, whole)
    token = domain_token(DomainUser("ada", domain, pac()), system, whole, {})
    assert (token.uid, token.gid, set(token.groups)) == (502, 50, {50, 51})
    assert whole.sid_of_uid(502) == f"{SID}-1102"
    assert identities(settings).uid_of_sid(f"{SID}-1102") == 502


@pytest.mark.parametrize("name", ["", "x/y", "LAMAD\\ada", "a\0"])
def test_a_name_that_would_be_another_is_not_asked_for(name: str) -> None:
    names = Names()
    with pytest.raises(NoIdError):
        system_ids(name, DomainSettings("LAMAD", SID, method="nss", user_name="%U"), identities(names=names))
    assert names.asked == []


def test_without_a_pac_the_realm_decides_and_the_id_is_the_sid() -> None:
    domain = DomainSettings("HOME", realm="HOME.TEST", method="nss", user_name="%U")
    whole = identities(IdentitySettings((domain,)))
    assert whole.domain_of_realm("home.test") is domain
    token = domain_token(DomainUser("ann", domain, None), system_ids("ann", domain, whole), whole, {})
    assert (token.uid, token.user_sid) == (501, "S-1-22-1-501")


# -- allocated ids


def test_ids_are_given_in_turn_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "ids.db"
    store = IdStore(path)
    assert [store.allocate(f"{SID}-{rid}", "D", 10, 12) for rid in (7, 8, 7)] == [10, 11, 10]
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = IdStore(path)
    assert (again.id_of(f"{SID}-8"), again.sid_of(11), again.id_of("S-1-9"), again.sid_of(12)) == (
        11,
        f"{SID}-8",
        None,
        None,
    )
    assert again.allocate(f"{SID}-9", "D", 10, 12) == 12
    with pytest.raises(RangeFullError):
        again.allocate(f"{SID}-10", "D", 10, 12)
    assert again.allocate(f"{SID}-9", "D", 10, 12) == 12


def test_two_servers_with_one_file_never_give_an_id_twice(tmp_path: Path) -> None:
    stores = [IdStore(tmp_path / "ids.db") for _ in range(3)]

    def take(number: int) -> tuple[str, int]:
        sid = f"{SID}-{number % 40}"
        return sid, stores[number % 3].allocate(sid, "D", 100, 999)

    with ThreadPoolExecutor(6) as threads:
        taken = set(threads.map(take, range(120)))
    assert len(taken) == len({sid for sid, _ in taken}) == len({number for _, number in taken}) == 40
    assert {number for _, number in taken} == set(range(100, 140))


def test_only_who_comes_takes_an_id_what_clients_name_does_not() -> None:
    domain = DomainSettings("D", SID, method="allocate", low=10, high=20)
    whole = identities(IdentitySettings((domain,)))
    assert whole.uid_of_sid(f"{SID}-5") is None
    assert whole.take_id(f"{SID}-5") == 10
    assert whole.uid_of_sid(f"{SID}-5") == whole.gid_of_sid(f"{SID}-5") == 10
    assert whole.sid_of_uid(10) == f"{SID}-5"
    assert whole.take_id("S-1-5-21-9-9-9-9") is None


def test_a_file_that_others_may_write_or_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids.db"
    IdStore(path).close()
    os.chmod(path, 0o620)
    with pytest.raises(PermissionError, match="others"):
        IdStore(path)
    other = tmp_path / "other.db"
    other.write_bytes(b"x" * 5000)
    os.chmod(other, 0o600)
    with pytest.raises(OSError, match="file of ids"):
        IdStore(other)


# -- the name service


def test_answers_are_believed_for_a_time_and_unknown_names_for_a_shorter_one() -> None:
    names, now = Names(), [0.0]
    service = NameService(names, cache=100, cache_unknown=10, clock=lambda: now[0])
    for moment in (0, 9, 11, 99, 101):
        now[0] = float(moment)
        service.user("ann")
        service.user("nobody")
    assert names.asked.count("ann") == 2
    assert names.asked.count("nobody") == 3


def test_the_cache_is_bounded() -> None:
    service = NameService(Names(), cache_entries=10)
    for number in range(50):
        service.user(f"n{number}")
    assert len(service._known) == 10


def test_one_that_hangs_is_waited_for_once_and_what_was_known_holds() -> None:
    names, now = Names(), [0.0]
    service = NameService(names, timeout=0.05, cache=100, clock=lambda: now[0])
    assert service.user("ann") == ("ann", 501, 50)
    names.go.clear()
    now[0] = 200.0
    assert service.user("ann") == ("ann", 501, 50)
    with pytest.raises(NameServiceError):
        service.user("bob")
    assert names.asked == ["ann", "ann"]
    names.go.set()
    now[0] = 300.0
    assert service.user("bob") is None


def test_a_server_whose_name_service_hangs_knows_nobody_by_it() -> None:
    names = Names()
    names.go.clear()
    whole = Identities(MemoryAccounts(), IdentitySettings((LAMAD,), timeout=0.05), NameService(names))
    assert whole.sid_of_name("ann") is None
    assert whole.groups_of_uid(501, 50) == (50,)
    assert whole.uid_of_sid(f"{SID}-600") == 1100
    names.go.set()


# -- contradictions, and words for people


@pytest.mark.parametrize(
    ("settings", "where", "why"),
    [
        (
            IdentitySettings((LAMAD, DomainSettings("B", "S-1-5-21-4-4-4", low=1500, high=2500))),
            ("domain", "B", "range"),
            "1500-1999 are in the range of LAMAD",
        ),
        (
            IdentitySettings((LAMAD, DomainSettings("B", SID, low=3000, high=3500))),
            ("domain", "B", "sid"),
            "of LAMAD, too",
        ),
        (IdentitySettings((DomainSettings("A"),)), ("domain", "A", "sid"), "needs the SID"),
        (IdentitySettings((DomainSettings("A", SID),)), ("domain", "A", "range"), "needs a range"),
        (IdentitySettings((DomainSettings("A", method="nss"),)), ("domain", "A"), "or its realm"),
        (IdentitySettings((LAMAD,), users={"S-1-9": 1500}), ("users", "S-1-9"), "in the range of LAMAD"),
        (IdentitySettings(groups={"S-1-8": 5, "S-1-9": 5}), ("groups", "S-1-9"), "is S-1-8 already"),
    ],
)
def test_what_contradicts_itself_is_told(settings: IdentitySettings, where: tuple[str, ...], why: str) -> None:
    found = conflicts(settings)
    assert any(conflict.where == where and why in conflict.message for conflict in found), found


def test_who_somebody_is_can_be_explained() -> None:
    whole = identities(IdentitySettings((LAMAD,), users={"S-1-5-21-8-8-8-8": 77}))
    account = whole.accounts.add("ann", "x", uid=501)  # type: ignore[attr-defined]
    assert explain(whole, "ann") == [f"ann is {account.sid}", f"{account.sid} is uid 501 (ann): of the accounts"]
    assert "decreed in [identity.users]" in explain(whole, "s-1-5-21-8-8-8-8")[0]
    assert explain(whole, "1100")[0] == f"uid 1100 is {SID}-600: of LAMAD, whose relative ids 500-1499 are 1000-1999"
    assert explain(whole, "50")[1] == "gid 50 (staff) is S-1-22-2-50: a SID that is the id itself"
    for nobody in ("nobody here", "S-1-5-21-9-9-9-9", "S-1-x"):
        with pytest.raises(LookupError):
            explain(whole, nobody)
