"""Access lists of shares: who may connect, and with which rights."""

import pytest

from lamina.core.share_security import MASKS, ShareAccess, ShareSecurity
from lamina.ntfsa.security.security_descriptor import to_sddl
from lamina.vfs_modules.token import ImpersonationToken

NAMES = {"alice": "S-1-5-21-1-2-3-1000", "bob": "S-1-5-21-1-2-3-1001", "staff": "S-1-5-21-1-2-3-1002"}
ALICE = ImpersonationToken(
    NAMES["alice"],
    frozenset({NAMES["staff"], "S-1-1-0", "S-1-5-32-544"}),
    1,
    1,
    privileges=frozenset({"SeTakeOwnershipPrivilege"}),
)
BOB = ImpersonationToken(NAMES["bob"], frozenset({"S-1-1-0"}), 2, 2)
READ, CHANGE, FULL, NONE = ShareAccess.READ, ShareAccess.CHANGE, ShareAccess.FULL, ShareAccess.NONE


def security(**arguments: object) -> ShareSecurity:
    return ShareSecurity(resolve=lambda name: NAMES.get(name.lower()), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "alice", "bob"),
    [
        ({}, MASKS[FULL], MASKS[FULL]),
        ({"allow": frozenset({"Alice"})}, MASKS[FULL], 0),
        ({"allow": frozenset({"staff"})}, MASKS[FULL], 0),
        ({"allow": frozenset({"S-1-5-21-1-2-3-1001"})}, 0, MASKS[FULL]),
        ({"deny": frozenset({"alice"})}, 0, MASKS[FULL]),
        ({"allow": frozenset({"alice"}), "deny": frozenset({"staff"})}, 0, 0),
        ({"access": {"alice": CHANGE, "everyone": READ}}, MASKS[CHANGE] | MASKS[READ], MASKS[READ]),
        ({"access": {"staff": NONE, "everyone": FULL}}, 0, MASKS[FULL]),
        ({"access": {"everyone": READ}, "deny": frozenset({"bob"})}, MASKS[READ], 0),
        ({"access": {"administrators": NONE, "bob": READ}}, 0, MASKS[READ]),
        ({"access": {"nobody-of-that-name": FULL}}, 0, 0),
    ],
)
def test_what_a_list_lets_do(arguments: dict[str, object], alice: int, bob: int) -> None:
    assert security(**arguments).maximal_access(ALICE) == alice
    assert security(**arguments).maximal_access(BOB) == bob


def test_names_that_mean_nobody_are_told() -> None:
    made = security(access={"alise": READ, "Everyone": READ}, deny=frozenset({"bob", "eve", "S-1-5-7"}))
    assert made.unknown_names() == ["alise", "eve"]


def test_the_descriptor_denies_first() -> None:
    made = security(access={"everyone": READ, "bob": NONE}).descriptor()
    assert to_sddl(made) == f"O:BAG:BAD:(D;;FA;;;{NAMES['bob']})(A;;0x1200a9;;;WD)"
