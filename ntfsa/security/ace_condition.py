"""Conditions of callback entries: reading them, and what they come to for a token (MS-DTYP 2.4.4.17, 2.5.3.1.5).

A condition is "artx" and a series of tokens in postfix order. Its value is true, false or unknown, here True, False and
None. Unknown comes of attributes that are missing and of values that cannot be compared; what breaks the rules of the
language (an operand that is missing or of the wrong sort, a token that nobody knows) makes the whole condition unknown.
Reading one takes time in proportion to its length, which the entry's 16-bit size bounds; comparing values, of which a
short condition may ask for long ones again and again, is bounded by `EFFORT` for all the conditions of a descriptor.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from operator import ge, gt, le, lt
from struct import Struct, error
from typing import Any, Final, NamedTuple

from lamina.ntfsa.security.claims import Claim, Claims, Scalar, SidValue
from lamina.ntfsa.security.sid import parse_sid
from lamina.ntfsa.status import NtStatusError

SIGNATURE: Final = b"artx"
MAX_TOKENS: Final = 2000
EFFORT: Final = 200_000
"""Values and their characters that are compared for one access check; conditions that take more are unknown."""

_PADDING: Final = 0x00
_INTEGERS: Final = frozenset({0x01, 0x02, 0x03, 0x04})
_UNICODE: Final = 0x10
_OCTETS: Final = 0x18
_COMPOSITE: Final = 0x50
_SID: Final = 0x51
_LOCAL, _USER, _RESOURCE, _DEVICE = 0xF8, 0xF9, 0xFA, 0xFB

_INTEGER: Final = Struct("<qBB")
_LENGTH: Final = Struct("<I")


class ConditionError(ValueError):
    """The condition breaks the rules of the language."""


class Attribute(NamedTuple):
    """A reference to an attribute: whose (a token's code), and its name in lower case."""

    source: int
    name: str


class Operator(NamedTuple):
    """An operator's code."""

    code: int


class Composite(NamedTuple):
    """Several values, without order."""

    values: tuple[Scalar, ...]


Literal = Scalar | Composite
Token = Literal | Attribute | Operator


@dataclass(slots=True)
class Subject:
    """What conditions are about: whose SIDs and claims, and the file's resource attributes. There are no devices.

    One for all the conditions of one access check: `effort` is what may still be spent on them.
    """

    sids: Collection[str]
    claims: Claims
    resource: Claims
    effort: int = EFFORT

    def spend(self, claim: Claim) -> None:
        """Take the cost of comparing a claim's values; ConditionError where there is not so much left."""
        if self.effort >= 0:
            self.effort -= sum(len(value) if isinstance(value, str | bytes) else 1 for value in claim.values) + 1
        if self.effort < 0:
            raise ConditionError("too much to compare")


class _Result(NamedTuple):
    value: bool | None


class _Found(NamedTuple):
    claim: Claim | None


_Item = Literal | _Found | _Result

# --- Reading -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def parse_condition(data: bytes) -> tuple[Token, ...]:
    """The tokens of an entry's application data. Raises ConditionError."""
    if data[:4] != SIGNATURE:
        raise ConditionError("not a condition")
    tokens: list[Token] = []
    offset = len(SIGNATURE)
    try:
        while offset < len(data) and data[offset] != _PADDING:
            token, offset = _token(data, offset, nested=False)
            tokens.append(token)
            if len(tokens) > MAX_TOKENS:
                raise ConditionError("too many tokens")
    except (error, UnicodeDecodeError, NtStatusError) as problem:
        raise ConditionError(str(problem)) from problem
    if any(data[offset:]) or len(data) - offset > 3:
        raise ConditionError("something after the padding")
    return tuple(tokens)


def _token(data: bytes, offset: int, nested: bool) -> tuple[Token, int]:
    code, offset = data[offset], offset + 1
    if code in _INTEGERS:
        value: int = _INTEGER.unpack_from(data, offset)[0]
        return value, offset + _INTEGER.size
    if not nested and code in _OPERATORS:
        return Operator(code), offset
    reader = _SCALARS.get(code) or (None if nested else _BODIES.get(code))
    if reader is None:
        raise ConditionError(f"a token {code:#x} that means nothing here")
    (length,) = _LENGTH.unpack_from(data, offset)
    offset += _LENGTH.size
    if length > len(data) - offset:
        raise ConditionError("a token that ends too early")
    return reader(code, data[offset : offset + length]), offset + length


def _unicode(code: int, body: bytes) -> Token:
    return body.decode("utf-16-le")


def _octets(code: int, body: bytes) -> Token:
    return body


def _sid(code: int, body: bytes) -> Token:
    return SidValue(parse_sid(body))


def _attribute(code: int, body: bytes) -> Token:
    return Attribute(code, body.decode("utf-16-le").lower())


def _composite(code: int, body: bytes) -> Token:
    values: list[Scalar] = []
    offset = 0
    while offset < len(body):
        token, offset = _token(body, offset, nested=True)
        assert not isinstance(token, Operator | Attribute | Composite)
        values.append(token)
    return Composite(tuple(values))


_SCALARS: Final = {_UNICODE: _unicode, _OCTETS: _octets, _SID: _sid}
_BODIES: Final = {_COMPOSITE: _composite} | dict.fromkeys((_LOCAL, _USER, _RESOURCE, _DEVICE), _attribute)


# --- Evaluating ----------------------------------------------------------------------------------------------------


def evaluate(data: bytes, subject: Subject) -> bool | None:
    """What the condition in `data` comes to; None is "unknown", also for what is none."""
    try:
        return _run(parse_condition(data), subject)
    except ConditionError:
        return None


def _run(tokens: tuple[Token, ...], subject: Subject) -> bool | None:
    stack: list[_Item] = []
    for token in tokens:
        if isinstance(token, Attribute):
            stack.append(_Found(_look_up(token, subject)))
        elif isinstance(token, Operator):
            _OPERATORS[token.code](stack, token.code, subject)
        else:
            stack.append(token)
    result = _truth(_pop(stack))
    if stack:
        raise ConditionError("operands that nothing is done with")
    return result


def _look_up(attribute: Attribute, subject: Subject) -> Claim | None:
    if attribute.source == _USER:
        return subject.claims.get(attribute.name)
    return subject.resource.get(attribute.name) if attribute.source == _RESOURCE else None


def _pop(stack: list[_Item]) -> _Item:
    if not stack:
        raise ConditionError("an operand is missing")
    return stack.pop()


def _truth(item: _Item) -> bool | None:
    """The logical value of an operand (2.4.4.17.7)."""
    if isinstance(item, _Result):
        return item.value
    if not isinstance(item, _Found):
        raise ConditionError("a literal has no logical value")
    if item.claim is None or not item.claim.values:
        return None
    value = item.claim.values[0]
    if len(item.claim.values) > 1 or not isinstance(value, int | str):
        raise ConditionError("an attribute without a logical value")
    return bool(value)


def _and(stack: list[_Item], code: int, subject: Subject) -> None:
    one, other = _truth(_pop(stack)), _truth(_pop(stack))
    false = one is False or other is False
    stack.append(_Result(False if false else (True if one and other else None)))


def _or(stack: list[_Item], code: int, subject: Subject) -> None:
    one, other = _truth(_pop(stack)), _truth(_pop(stack))
    true = one is True or other is True
    stack.append(_Result(True if true else (None if one is None or other is None else False)))


def _not(stack: list[_Item], code: int, subject: Subject) -> None:
    value = _truth(_pop(stack))
    stack.append(_Result(None if value is None else not value))


_NOT_EXISTS: Final = 0x8D


def _exists(stack: list[_Item], code: int, subject: Subject) -> None:
    item = _pop(stack)
    if not isinstance(item, _Found):
        raise ConditionError("only attributes exist or not")
    stack.append(_Result((item.claim is not None) != (code == _NOT_EXISTS)))


class _Membership(NamedTuple):
    every: bool
    device: bool
    negated: bool


_MEMBERSHIPS: Final = {
    0x89: _Membership(True, False, False),
    0x8A: _Membership(True, True, False),
    0x8B: _Membership(False, False, False),
    0x8C: _Membership(False, True, False),
    0x90: _Membership(True, False, True),
    0x91: _Membership(True, True, True),
    0x92: _Membership(False, False, True),
    0x93: _Membership(False, True, True),
}


def _member_of(stack: list[_Item], code: int, subject: Subject) -> None:
    operand = _pop(stack)
    wanted = operand.values if isinstance(operand, Composite) else (operand,)
    names = [item.sid for item in wanted if isinstance(item, SidValue)]
    if len(names) != len(wanted) or not names:
        raise ConditionError("only SIDs are members")
    every, device, negated = _MEMBERSHIPS[code]
    sids: Collection[str] = () if device else subject.sids
    found = (all if every else any)(name in sids for name in names)
    stack.append(_Result(found != negated))


def _relation(stack: list[_Item], code: int, subject: Subject) -> None:
    right, left = _pop(stack), _pop(stack)
    if not isinstance(left, _Found) or isinstance(right, _Result):
        raise ConditionError("an attribute is compared with an attribute or a literal")
    compared = right.claim if isinstance(right, _Found) else Claim(_values(right))
    if left.claim is None or compared is None:
        stack.append(_Result(None))
        return
    subject.spend(left.claim)
    subject.spend(compared)
    sensitive = left.claim.case_sensitive or compared.case_sensitive
    stack.append(_Result(_compare(code, _keys(left.claim, sensitive), _keys(compared, sensitive))))


def _values(literal: Literal) -> tuple[Scalar, ...]:
    return literal.values if isinstance(literal, Composite) else (literal,)


def _keys(claim: Claim, sensitive: bool) -> list[Scalar]:
    return [value.casefold() if isinstance(value, str) and not sensitive else value for value in claim.values]


def _compare(code: int, left: list[Scalar], right: list[Scalar]) -> bool | None:
    if not left or not right or len({type(value) for value in (*left, *right)}) > 1:
        return None
    if code in _SETS:
        return _SETS[code](set(left), set(right))
    # All but the operators on sets are for single values, and SIDs have no order (2.4.4.17.6).
    if len(left) > 1 or len(right) > 1:
        return None
    if code == _NOT_EQUAL:
        return left[0] != right[0]
    return None if isinstance(left[0], SidValue) else _ORDERS[code](left[0], right[0])


_NOT_EQUAL: Final = 0x81
_ORDERS: Final[dict[int, Callable[[Any, Any], bool]]] = {0x82: lt, 0x83: le, 0x84: gt, 0x85: ge}
_SETS: Final[dict[int, Callable[[set[Scalar], set[Scalar]], bool]]] = {
    0x80: lambda left, right: left == right,
    0x86: lambda left, right: left >= right,
    0x88: lambda left, right: not left.isdisjoint(right),
    0x8E: lambda left, right: not left >= right,
    0x8F: lambda left, right: left.isdisjoint(right),
}
"""==, Contains, Any_of, Not_Contains, Not_Any_of."""

_OPERATORS: Final[dict[int, Callable[[list[_Item], int, Subject], None]]] = {
    0x87: _exists,
    _NOT_EXISTS: _exists,
    0xA0: _and,
    0xA1: _or,
    0xA2: _not,
    **dict.fromkeys(_MEMBERSHIPS, _member_of),
    **dict.fromkeys((_NOT_EQUAL, *_ORDERS, *_SETS), _relation),
}
