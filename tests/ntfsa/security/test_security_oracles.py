"""The access check and inheritance against others' answers: plain renderings of MS-DTYP's rules, and Samba's own code.

Each runs over 100,000 random descriptors and tokens, which small worlds of SIDs, rights and flags make collide.
"""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.access_check import check_access, maximal_access
from lamina.ntfsa.security.acl_inheritance import Creator, inherited_aces
from lamina.ntfsa.security.security_descriptor import (
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
)
from lamina.ntfsa.security.sid import CREATOR_GROUP, CREATOR_OWNER, EVERYONE, OWNER_RIGHTS
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.token import ImpersonationToken

ROUNDS = 100_000
SIDS = [f"S-1-5-21-1-2-3-{1000 + number}" for number in range(5)]
TRUSTEES = [*SIDS, EVERYONE, OWNER_RIGHTS, "S-1-5-32-544"]
SPECIFIC = [1 << position for position in (*range(9), *range(16, 21))]
GENERIC = [c.GENERIC_ALL, c.GENERIC_READ, c.GENERIC_WRITE, c.GENERIC_EXECUTE]
GENERIC_MAP = {
    c.GENERIC_ALL: 0x1F01FF, c.GENERIC_READ: 0x120089, c.GENERIC_WRITE: 0x120116, c.GENERIC_EXECUTE: 0x1200A0,
}  # fmt: skip
INHERIT_ONLY, INHERITED = 8, 16
BACKUP, RESTORE = "SeBackupPrivilege", "SeRestorePrivilege"
OWNERSHIP, SECURITY = "SeTakeOwnershipPrivilege", "SeSecurityPrivilege"


class Case(NamedTuple):
    """One question: may this token do that to what has this descriptor?"""

    descriptor: SecurityDescriptor
    token: ImpersonationToken
    desired: int


def some_mask(rng: random.Random, generic: bool) -> int:
    mask = 0
    for bit in rng.sample(SPECIFIC, rng.randrange(1, 6)):
        mask |= bit
    return mask | (rng.choice(GENERIC) if generic and rng.random() < 0.2 else 0)


def cases(seed: int, generic: bool, kinds: tuple[int, ...], rounds: int = ROUNDS) -> Iterator[Case]:
    rng = random.Random(seed)
    for _ in range(rounds):
        aces = tuple(
            Ace(rng.choice(kinds), rng.choice((0, 0, 3, INHERIT_ONLY)), some_mask(rng, generic), rng.choice(TRUSTEES))
            for _ in range(rng.randrange(7))
        )
        dacl = None if rng.random() < 0.03 else Acl(aces)
        descriptor = SecurityDescriptor(rng.choice(SIDS), rng.choice(SIDS), dacl, None, 0x8004)
        privileges = {name for name in (OWNERSHIP, SECURITY) if rng.random() < 0.15}
        groups = frozenset(rng.sample(TRUSTEES[:6], rng.randrange(4)))
        token = ImpersonationToken(rng.choice(SIDS), groups, 1, 1, privileges=frozenset(privileges))
        desired = some_mask(rng, generic)
        desired |= c.ACCESS_SYSTEM_SECURITY if rng.random() < 0.05 else 0
        yield Case(descriptor, token, desired | (c.MAXIMUM_ALLOWED if rng.random() < 0.2 else 0))


def answer(case: Case) -> int | str:
    try:
        return check_access(case.descriptor, case.token, case.desired)
    except NtStatusError as error:
        return NtStatus(error.status).name


# -- a plain rendering of MS-DTYP 2.5.3.2 --------------------------------------------------------------------------


def mapped(mask: int) -> int:
    for bit, rights in GENERIC_MAP.items():
        if mask & bit:
            mask = mask & ~bit | rights
    return mask


def may(bit: int, descriptor: SecurityDescriptor, token: ImpersonationToken) -> bool:
    """One right at a time, the first entry that names it decides."""
    sids = {token.user_sid, *token.group_sids}
    if bit == c.ACCESS_SYSTEM_SECURITY:
        return SECURITY in token.privileges
    if bit == c.WRITE_OWNER and OWNERSHIP in token.privileges:
        return True
    if descriptor.dacl is None:
        return True
    effective = [ace for ace in descriptor.dacl.aces if not ace.flags & INHERIT_ONLY]
    owner = descriptor.owner in sids
    if owner and bit in {c.READ_CONTROL, c.WRITE_DAC} and not any(ace.sid == OWNER_RIGHTS for ace in effective):
        return True
    for ace in effective:
        if ace.type not in {0, 1} or not (ace.sid in sids or (owner and ace.sid == OWNER_RIGHTS)):
            continue
        if mapped(ace.mask) & bit:
            return ace.type == 0
    return False


def expected(case: Case) -> int | str:
    desired = mapped(case.desired)
    wanted = [1 << n for n in range(25) if desired >> n & 1 and 1 << n != c.MAXIMUM_ALLOWED]
    if desired & c.ACCESS_SYSTEM_SECURITY and not may(c.ACCESS_SYSTEM_SECURITY, case.descriptor, case.token):
        return "PRIVILEGE_NOT_HELD"
    if not all(may(bit, case.descriptor, case.token) for bit in wanted):
        return "ACCESS_DENIED"
    granted = sum(wanted)
    if desired & c.MAXIMUM_ALLOWED:
        granted |= sum(bit for bit in SPECIFIC if may(bit, case.descriptor, case.token))
    return granted


@pytest.mark.slow
def test_the_access_check_agrees_with_the_rules_taken_one_right_at_a_time() -> None:
    for case in cases(1, generic=True, kinds=(0, 1, 0, 1, 2, 5, 6)):
        assert answer(case) == expected(case), case


def test_privileges_count_for_backup_alone() -> None:
    rng = random.Random(2)
    for case in cases(2, generic=True, kinds=(0, 1), rounds=3000):
        privileges = frozenset(rng.sample([BACKUP, RESTORE], rng.randrange(3)))
        token = ImpersonationToken(SIDS[0], frozenset(), 1, 1, privileges=privileges)
        without = maximal_access(case.descriptor, ImpersonationToken(SIDS[0], frozenset(), 1, 1))
        given = maximal_access(case.descriptor, token, backup_intent=True)
        assert maximal_access(case.descriptor, token) == without
        reads = 0x1200A9 if BACKUP in privileges else 0
        writes = 0x1F0116 if RESTORE in privileges else 0
        system = c.ACCESS_SYSTEM_SECURITY if privileges else 0
        assert given == without | reads | writes | system


# -- Samba's own access check --------------------------------------------------------------------------------------

SAMBA = """
import json, sys
from samba import NTSTATUSError, security as check
from samba.dcerpc import security
from samba.ndr import ndr_unpack
known, answers = {}, []
def sid(text):
    if text not in known: known[text] = security.dom_sid(text)
    return known[text]
for line in sys.stdin:
    packed, sids, privileges, desired = json.loads(line)
    token = security.token()
    token.num_sids = len(sids)
    token.sids = [sid(text) for text in sids]
    for name in privileges: token.set_privilege(getattr(security, name))
    try: answers.append(check.access_check(ndr_unpack(security.descriptor, bytes.fromhex(packed)), token, desired))
    except NTSTATUSError as error: answers.append(error.args[0] & 0xffffffff)
print(json.dumps(answers))
"""
PRIVILEGES = {OWNERSHIP: "SEC_PRIV_TAKE_OWNERSHIP", SECURITY: "SEC_PRIV_SECURITY"}


def ask_samba(questions: list[Case]) -> list[int]:
    lines = [
        json.dumps(
            [
                pack_security_descriptor(case.descriptor).hex(),
                [case.token.user_sid, *sorted(case.token.group_sids)],
                [PRIVILEGES[name] for name in sorted(case.token.privileges)],
                case.desired,
            ]
        )
        for case in questions
    ]
    done = subprocess.run(
        ["/usr/bin/python3", "-c", SAMBA], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


@pytest.mark.slow
def test_the_access_check_agrees_with_sambas() -> None:
    if not shutil.which("smbd") or subprocess.run(["/usr/bin/python3", "-c", "import samba"], check=False).returncode:
        pytest.skip("needs Samba's Python modules; install Debian's samba and python3-samba")
    # Samba's function takes rights as they are, without generic ones.
    # Where there is no list it asks for no privilege, and does not say what may be had at most.
    asked = cases(3, generic=False, kinds=(0, 1))
    questions = [q for q in asked if q.descriptor.dacl is not None]
    denied = {NtStatus.ACCESS_DENIED, NtStatus.PRIVILEGE_NOT_HELD}
    for case, theirs in zip(questions, ask_samba(questions), strict=True):
        ours = answer(case)
        if isinstance(ours, str):
            assert NtStatus[ours] == theirs, case
        else:
            assert theirs not in denied, case
            # What may be had at most goes beyond files there, and does not hold what the privilege to own gives.
            owns = c.WRITE_OWNER if OWNERSHIP in case.token.privileges and case.desired & c.MAXIMUM_ALLOWED else 0
            theirs &= c.FILE_ALL_ACCESS | c.ACCESS_SYSTEM_SECURITY  # noqa: PLW2901 # as files know it
            assert ours & ~owns == theirs & ~owns, case


# -- inheritance ---------------------------------------------------------------------------------------------------


def rendered(ace: Ace, creator: Creator, directory: bool) -> list[Ace]:
    """MS-DTYP 2.5.3.4.2 for one entry, as a table of who is told what.

    The child itself is concerned by "object inherit" if it is a file, by "container inherit" if it is a directory; a
    directory hands on what it has, unless told not to. What it hands on stays as it is: creators and generic rights are
    filled in for the child alone, and then the two are apart.
    """
    names = {CREATOR_OWNER: creator.owner, CREATOR_GROUP: creator.group}
    concerned = bool(ace.flags & (2 if directory else 1))
    hands_on = ace.flags & 3 if directory and not ace.flags & 4 else 0
    rest = ace.flags & 0xC0 | INHERITED
    filled = Ace(ace.type, rest, mapped(ace.mask), names.get(ace.sid, ace.sid), ace.data)
    unfilled = Ace(ace.type, rest | hands_on, ace.mask, ace.sid, ace.data)
    changed = filled.sid != ace.sid or ace.mask >> 28
    match (concerned, bool(hands_on), bool(changed)):
        case (False, False, _):
            return []
        case (False, True, _):
            return [unfilled._replace(flags=unfilled.flags | INHERIT_ONLY)]
        case (True, False, _):
            return [filled]
        case (True, True, False):
            return [unfilled]
        case _:
            return [filled, unfilled._replace(flags=unfilled.flags | INHERIT_ONLY)]


@pytest.mark.slow
def test_inheritance_agrees_with_a_plain_rendering() -> None:
    rng = random.Random(4)
    trustees = [*TRUSTEES, CREATOR_OWNER, CREATOR_GROUP, CREATOR_OWNER]
    for _ in range(ROUNDS):
        aces = tuple(
            Ace(rng.choice((0, 1, 2)), rng.randrange(32) | rng.choice((0, 0x40, 0x80)), some_mask(rng, True), sid)
            for sid in rng.choices(trustees, k=rng.randrange(5))
        )
        creator, directory = Creator(*rng.sample(SIDS, 2)), rng.random() < 0.5
        wanted = tuple(new for ace in aces for new in rendered(ace, creator, directory))
        assert inherited_aces(Acl(aces), creator, directory) == wanted, (aces, directory)


# -- round trip ----------------------------------------------------------------------------------------------------


def test_every_descriptor_comes_back_byte_for_byte() -> None:
    rng = random.Random(5)
    for case in cases(5, generic=True, kinds=tuple(range(20)), rounds=5000):
        sacl = Acl(tuple(Ace(rng.choice((2, 0x11, 0x12)), 0, 1, EVERYONE, rng.randbytes(4 * rng.randrange(3)))
                         for _ in range(rng.randrange(3))), rng.choice((2, 4)))  # fmt: skip
        dacl = case.descriptor.dacl
        aces = tuple(_opaque(ace, rng) for ace in dacl.aces) if dacl is not None else ()
        whole = case.descriptor._replace(dacl=dacl and Acl(aces), sacl=rng.choice((None, sacl)))
        packed = pack_security_descriptor(whole)
        assert pack_security_descriptor(parse_security_descriptor(packed)) == packed


def _opaque(ace: Ace, rng: random.Random) -> Ace:
    known = {0, 1, 2, 3, 9, 10, 13, 14, 17, 18, 19}
    return ace if ace.type in known else Ace(ace.type, ace.flags, 0, "", rng.randbytes(4 * rng.randrange(1, 6)))
