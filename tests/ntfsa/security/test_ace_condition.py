"""Conditions of entries: every operator over every sort of value, three-valued logic, and hostile input."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.security.access_check import maximal_access
from lamina.ntfsa.security.ace_condition import MAX_TOKENS, ConditionError, Subject, evaluate, parse_condition
from lamina.ntfsa.security.claims import Claim, SidValue, resource_attributes
from lamina.ntfsa.security.security_descriptor import Ace, Acl, SecurityDescriptor
from lamina.ntfsa.security.sid import pack_sid
from lamina.vfs_modules.token import ImpersonationToken

ALICE, STAFF, GUESTS = "S-1-5-21-1-2-3-1000", "S-1-5-21-1-2-3-1001", "S-1-5-32-546"
AND, OR, NOT, EXISTS, NOT_EXISTS = b"\xa0", b"\xa1", b"\xa2", b"\x87", b"\x8d"
EQ, NE, LT, LE, GT, GE = (bytes([code]) for code in range(0x80, 0x86))
CONTAINS, ANY_OF, NOT_CONTAINS, NOT_ANY_OF = b"\x86", b"\x88", b"\x8e", b"\x8f"
MEMBER_OF, MEMBER_OF_ANY, NOT_MEMBER_OF, NOT_MEMBER_OF_ANY = b"\x89", b"\x8b", b"\x90", b"\x92"


def sized(code: int, body: bytes) -> bytes:
    return struct.pack("<BI", code, len(body)) + body


def number(value: int, code: int = 4) -> bytes:
    return struct.pack("<BqBB", code, value, 3, 2)


def text(value: str) -> bytes:
    return sized(0x10, value.encode("utf-16-le"))


def octets(value: bytes) -> bytes:
    return sized(0x18, value)


def sid(value: str) -> bytes:
    return sized(0x51, pack_sid(value))


def several(*values: bytes) -> bytes:
    return sized(0x50, b"".join(values))


def user(name: str) -> bytes:
    return sized(0xF9, name.encode("utf-16-le"))


def resource(name: str) -> bytes:
    return sized(0xFA, name.encode("utf-16-le"))


def local(name: str) -> bytes:
    return sized(0xF8, name.encode("utf-16-le"))


def condition(*tokens: bytes) -> bytes:
    body = b"artx" + b"".join(tokens)
    return body + bytes(-len(body) % 4)


SUBJECT = Subject(
    {ALICE, STAFF, "S-1-1-0"},
    {
        "level": Claim((3,)),
        "zero": Claim((0,)),
        "city": Claim(("Berlin",)),
        "empty": Claim(("",)),
        "exact": Claim(("Berlin",), case_sensitive=True),
        "projects": Claim(("red", "blue")),
        "key": Claim((b"\1\2",)),
        "who": Claim((SidValue(STAFF),)),
    },
    {"project": Claim(("Blue",)), "projects": Claim(("blue", "red")), "level": Claim((5,))},
)
TRUE, FALSE, UNKNOWN = user("level"), user("zero"), user("nothing")

CASES = [
    # Relations of numbers, texts, octets.
    ((user("Level"), number(3), EQ), True),
    ((user("level"), number(3, 1), EQ), True),
    ((user("level"), number(4), NE), True),
    ((user("level"), number(4), LT), True),
    ((user("level"), number(3), LE), True),
    ((user("level"), number(3), GT), False),
    ((user("level"), number(-3), GE), True),
    ((user("level"), resource("level"), LT), True),
    ((user("city"), text("BERLIN"), EQ), True),
    ((user("exact"), text("BERLIN"), EQ), False),
    ((user("city"), text("Bonn"), LT), True),
    ((user("key"), octets(b"\1\2"), EQ), True),
    ((user("key"), octets(b"\1\3"), LT), True),
    ((user("who"), sid(STAFF), EQ), True),
    ((user("who"), sid(GUESTS), NE), True),
    ((user("who"), sid(GUESTS), LT), None),
    # Values of different types, several values, attributes that are missing.
    ((user("level"), text("3"), EQ), None),
    ((user("projects"), text("red"), NE), None),
    ((user("projects"), text("red"), LT), None),
    ((user("nothing"), number(3), EQ), None),
    ((user("level"), resource("nothing"), EQ), None),
    ((local("level"), number(3), EQ), None),
    ((user("level"), several(), EQ), None),
    # Sets.
    ((user("projects"), several(text("BLUE"), text("Red"), text("red")), EQ), True),
    ((user("projects"), several(text("blue")), EQ), False),
    ((user("projects"), resource("projects"), EQ), True),
    ((user("projects"), resource("project"), CONTAINS), True),
    ((user("projects"), several(text("red"), text("green")), CONTAINS), False),
    ((user("projects"), several(text("red"), text("green")), NOT_CONTAINS), True),
    ((user("projects"), several(text("red"), text("green")), ANY_OF), True),
    ((user("projects"), text("green"), ANY_OF), False),
    ((user("projects"), text("green"), NOT_ANY_OF), True),
    ((user("city"), several(text("berlin"), text("bonn")), ANY_OF), True),
    ((user("nothing"), text("x"), NOT_CONTAINS), None),
    ((user("projects"), several(text("red"), number(1)), CONTAINS), None),
    # Members.
    ((sid(STAFF), MEMBER_OF), True),
    ((several(sid(ALICE), sid(STAFF)), MEMBER_OF), True),
    ((several(sid(ALICE), sid(GUESTS)), MEMBER_OF), False),
    ((several(sid(ALICE), sid(GUESTS)), MEMBER_OF_ANY), True),
    ((several(sid(ALICE), sid(GUESTS)), NOT_MEMBER_OF), True),
    ((several(sid(ALICE), sid(GUESTS)), NOT_MEMBER_OF_ANY), False),
    ((sid(ALICE), b"\x8a"), False),
    ((sid(ALICE), b"\x8c"), False),
    ((sid(ALICE), b"\x91"), True),
    ((sid(ALICE), b"\x93"), True),
    # Existence and logical values.
    ((user("zero"), EXISTS), True),
    ((user("nothing"), EXISTS), False),
    ((resource("nothing"), NOT_EXISTS), True),
    ((TRUE,), True),
    ((FALSE,), False),
    ((UNKNOWN,), None),
    ((user("city"),), True),
    ((user("empty"),), False),
    ((TRUE, NOT), False),
    ((FALSE, NOT), True),
    ((UNKNOWN, NOT), None),
    # What breaks the rules makes everything unknown.
    ((), None),
    ((TRUE, AND), None),
    ((TRUE, TRUE), None),
    ((number(1),), None),
    ((number(1), TRUE, OR), None),
    ((number(3), user("level"), EQ), None),
    ((user("level"), TRUE, NOT, EQ), None),
    ((text("x"), EXISTS), None),
    ((text("x"), MEMBER_OF), None),
    ((several(), MEMBER_OF), None),
    ((several(sid(ALICE), text("x")), MEMBER_OF_ANY), None),
    ((user("who"), MEMBER_OF), None),
    ((user("projects"), TRUE, OR), None),
    ((user("key"), TRUE, OR), None),
    ((TRUE, b"\x77"), None),
    ((several(several(sid(ALICE))), MEMBER_OF), None),
    ((several(user("level")), MEMBER_OF), None),
]


@pytest.mark.parametrize(("tokens", "expected"), CASES)
def test_what_a_condition_comes_to(tokens: tuple[bytes, ...], expected: bool | None) -> None:
    assert evaluate(condition(*tokens), SUBJECT) is expected


VALUES = {True: TRUE, False: FALSE, None: UNKNOWN}


@pytest.mark.parametrize("one", VALUES)
@pytest.mark.parametrize("other", VALUES)
def test_three_valued_logic(one: bool | None, other: bool | None) -> None:
    both = False if one is False or other is False else (None if one is None or other is None else True)
    either = True if one is True or other is True else (None if one is None or other is None else False)
    assert evaluate(condition(VALUES[one], VALUES[other], AND), SUBJECT) is both
    assert evaluate(condition(VALUES[one], VALUES[other], OR), SUBJECT) is either


def test_unknown_denies_and_does_not_allow() -> None:
    token = ImpersonationToken(ALICE, frozenset({STAFF}), 1, 1, claims={"city": ("Berlin",)})

    def granted(ace_type: int, *tokens: bytes) -> int:
        conditional = Ace(ace_type, 0, 1, STAFF, condition(*tokens))
        return maximal_access(SecurityDescriptor("S-1-5-18", None, Acl((conditional, Ace(0, 0, 2, ALICE)))), token)

    where = (user("city"), text("berlin"), EQ)
    assert granted(9, *where) == 3
    assert granted(9, *where, NOT) == 2
    assert granted(9, UNKNOWN) == 2
    denied = Acl((Ace(10, 0, 2, STAFF, condition(UNKNOWN)), Ace(0, 0, 3, ALICE)))
    assert maximal_access(SecurityDescriptor("S-1-5-18", None, denied), token) == 1
    passed = Acl((Ace(10, 0, 2, STAFF, condition(*where, NOT)), Ace(0, 0, 3, ALICE)))
    assert maximal_access(SecurityDescriptor("S-1-5-18", None, passed), token) == 3


# Resource attributes.


def claim_data(name: str, kind: int, values: list[bytes], flags: int = 0) -> bytes:
    head, body = 16 + 4 * len(values), b""
    at = head + len(name) * 2 + 2
    offsets = []
    for value in values:
        offsets.append(at + len(body))
        body += value
    start = struct.pack("<IHHII", head, kind, 0, flags, len(values)) + struct.pack(f"<{len(offsets)}I", *offsets)
    return start + (name + "\0").encode("utf-16-le") + body


def attribute(data: bytes) -> Acl:
    return Acl((Ace(0x12, 0, 0, "S-1-1-0", data),))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (1, struct.pack("<q", -2), -2),
        (2, struct.pack("<Q", 2**63), 2**63),
        (3, "Blue\0".encode("utf-16-le"), "Blue"),
        (5, struct.pack("<I", 28) + pack_sid(ALICE), SidValue(ALICE)),
        (6, struct.pack("<Q", 1), 1),
        (16, struct.pack("<I", 3) + b"abc", b"abc"),
    ],
)
def test_resource_attributes_are_read(kind: int, value: bytes, expected: object) -> None:
    found = resource_attributes(attribute(claim_data("Project", kind, [value, value])))
    assert found == {"project": Claim((expected, expected))}


def test_a_condition_asks_the_resource_attributes_of_its_file() -> None:
    token = ImpersonationToken(ALICE, frozenset(), 1, 1, claims={"project": ("blue",)})
    dacl = Acl((Ace(9, 0, 1, ALICE, condition(user("project"), resource("project"), ANY_OF)),))
    for value, granted in (("Blue\0", 1), ("Red\0", 0)):
        sacl = attribute(claim_data("Project", 3, [value.encode("utf-16-le")]))
        assert maximal_access(SecurityDescriptor(None, None, dacl, sacl), token) == granted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        claim_data("x", 3, [b"a\0"]),
        claim_data("x", 4, [bytes(8)]),
        claim_data("x", 1, [bytes(7)]),
        claim_data("x", 16, [struct.pack("<I", 99)]),
        claim_data("x", 5, [struct.pack("<I", 3) + b"abc"]),
        claim_data("x", 1, [bytes(8)], flags=0x10),
        struct.pack("<IHHII", 16, 1, 0, 0, 2**31) + b"x\0\0\0",
        struct.pack("<IHHII", 2**32 - 1, 1, 0, 0, 0),
    ],
)
def test_malformed_and_disabled_attributes_are_absent(data: bytes) -> None:
    assert resource_attributes(attribute(data)) == {}


@given(st.binary(max_size=120))
def test_attributes_of_rubbish_raise_nothing(data: bytes) -> None:
    resource_attributes(attribute(data))


# Hostile input.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"artx\x10\xff\xff\xff\xff",
        b"artx\x04\0\0",
        b"artx\x10\1\0\0\0a",
        b"artx\x51\4\0\0\0abcd",
        condition(several(b"\x04")),
        condition(TRUE) + b"\1\0\0\0",
        condition(TRUE) + bytes(4),
        condition(b"\x81" * (MAX_TOKENS + 1)),
    ],
)
def test_malformed_conditions_are_refused(data: bytes) -> None:
    with pytest.raises(ConditionError):
        parse_condition(data)
    assert evaluate(data, SUBJECT) is None


def test_long_values_compared_again_and_again_are_given_up() -> None:
    long_ = claim_data("x", 3, [("y" * 20_000 + "\0").encode("utf-16-le")])
    again = condition(*[resource("x"), resource("x"), EQ, NOT] * 20, *[AND] * 19)
    token = ImpersonationToken(ALICE, frozenset(), 1, 1)
    allowed = Acl((Ace(9, 0, 1, ALICE, condition(resource("x"), resource("x"), EQ)), Ace(9, 0, 2, ALICE, again)))
    assert maximal_access(SecurityDescriptor(None, None, allowed, attribute(long_)), token) == 1
    denied = Acl((Ace(10, 0, 2, ALICE, again), Ace(0, 0, 3, ALICE)))
    assert maximal_access(SecurityDescriptor(None, None, denied, attribute(long_)), token) == 1


def test_values_that_lie_upon_each_other_are_malformed() -> None:
    one = claim_data("x", 3, [("y" * 200 + "\0").encode("utf-16-le")])
    at = struct.unpack_from("<I", one, 16)[0] + 4 * 99
    head = struct.pack("<IHHII", 16 + 400, 3, 0, 0, 100) + struct.pack("<I", at) * 100
    assert resource_attributes(attribute(head + one[20:])) == {}


def tokens() -> st.SearchStrategy[bytes]:
    operators = st.sampled_from([bytes([code]) for code in (*range(0x80, 0x94), 0xA0, 0xA1, 0xA2)])
    names = st.sampled_from(["level", "city", "projects", "nothing", "who"])
    values = st.one_of(st.integers(-9, 9).map(number), st.text(max_size=3).map(text), st.just(sid(STAFF)))
    operands = st.one_of(
        values, names.map(user), names.map(resource), st.lists(values, max_size=3).map(lambda v: several(*v))
    )
    return st.lists(st.one_of(operands, operands, operators, st.binary(min_size=1, max_size=3)), max_size=12).map(
        b"".join
    )


@given(tokens(), st.integers(0, 200))
def test_no_input_makes_anything_but_a_value(data: bytes, cut: int) -> None:
    for attempt in (condition(data), condition(data)[:-1], condition(data)[:cut]):
        assert evaluate(attempt, SUBJECT) in {True, False, None}


@given(
    st.recursive(st.sampled_from([True, False, None]), lambda inner: st.tuples(st.sampled_from("&|!"), inner, inner))
)
def test_logic_agrees_with_kleene(tree: object) -> None:
    ranks: dict[bool | None, int] = {False: 0, None: 1, True: 2}
    back: dict[int, bool | None] = {rank: value for value, rank in ranks.items()}

    def expected(node: object) -> int:
        if not isinstance(node, tuple):
            return ranks[node]  # type: ignore[index]
        operator, one, other = node
        combine: Callable[[int, int], int] = min if operator == "&" else max
        return 2 - expected(one) if operator == "!" else combine(expected(one), expected(other))

    def packed(node: object) -> bytes:
        if not isinstance(node, tuple):
            return VALUES[node]  # type: ignore[index]
        operator, one, other = node
        if operator == "!":
            return packed(one) + NOT
        return packed(one) + packed(other) + (AND if operator == "&" else OR)

    assert evaluate(condition(packed(tree)), SUBJECT) is back[expected(tree)]
