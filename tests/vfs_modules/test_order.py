"""What modules declare of each other, and what is said of a chain that does not suit it."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lamina.vfs_modules.chain import build_chain
from lamina.vfs_modules.loader import installed_modules, load_module
from lamina.vfs_modules.module import ModuleError, ShareInfo, VfsModule
from lamina.vfs_modules.order import Declared, declared, judge
from lamina.vfs_modules.stock.memory import MemoryBackend

BACKEND = Declared("posix", is_backend=True)
STREAMS = Declared("streams_xattr", provides=("streams",), conflicts=("streams_depot",))
MACS = Declared("fruit", before=("streams",), requires=("streams",))
NAMES = Declared("catia", before=("fruit",))


def stock(*names: str) -> list[Declared]:
    return [declared(load_module(name), name) for name in names]


def said(*links: Declared) -> str:
    return str(judge(links))


def test_an_order_that_suits_is_left_alone():
    judgement = judge([NAMES, MACS, STREAMS, BACKEND])
    assert judgement.faults == ()
    assert judgement.order == (0, 1, 2, 3)
    assert str(judgement) == ""


def test_a_wrong_order_is_answered_with_the_right_one():
    assert said(STREAMS, MACS, NAMES, BACKEND) == (
        "'fruit' must stand above 'streams_xattr', which provides 'streams'; 'catia' must stand above 'fruit'; "
        'the right order is ["catia", "fruit", "streams_xattr", "posix"]'
    )


def test_what_need_not_move_stays_as_the_administrator_wrote_it():
    others = [Declared("z"), Declared("a"), Declared("m")]
    judgement = judge([others[0], STREAMS, others[1], MACS, others[2], BACKEND])
    assert judgement.right_names == ("z", "a", "fruit", "streams_xattr", "m", "posix")


def test_after_is_before_the_other_way_round():
    below = Declared("below", after=("streams",))
    assert said(below, STREAMS, BACKEND) == (
        '\'streams_xattr\' must stand above \'below\'; the right order is ["streams_xattr", "below", "posix"]'
    )
    assert said(STREAMS, below, BACKEND) == ""


@pytest.mark.parametrize(
    ("links", "sentence"),
    [
        ([], "the last module of a chain must be a backend, such as 'posix'"),
        ([STREAMS], "the last module of a chain must be a backend, such as 'posix', not 'streams_xattr'"),
        (
            [BACKEND, STREAMS],
            "'posix' is a backend and must stand last; the right order is [\"streams_xattr\", \"posix\"]",
        ),
        (
            [BACKEND, Declared("memory", is_backend=True)],
            "'posix' is a backend and must stand last and alone, and so must 'memory'",
        ),
        ([MACS, BACKEND], "'fruit' needs 'streams', and no other module of the chain is called so or provides it"),
        ([STREAMS, Declared("streams_depot"), BACKEND], "'streams_xattr' and 'streams_depot' cannot be in one chain"),
        ([Declared("streams_depot"), STREAMS, BACKEND], "'streams_depot' and 'streams_xattr' cannot be in one chain"),
        (
            [Declared("once", conflicts=("once",)), Declared("once", conflicts=("once",)), BACKEND],
            "'once' and 'once' cannot be in one chain",
        ),
        (
            [Declared("t", before=("a",)), Declared("a", before=("b",)), Declared("b", before=("a",)), BACKEND],
            "no order suits: 'a' must stand above 'b' and 'b' above 'a'",
        ),
    ],
)  # fmt: skip
def test_what_no_order_helps_is_said_in_a_sentence(links: list[Declared], sentence: str):
    assert said(*links) == sentence


def test_two_of_a_kind_are_in_any_order():
    twin = Declared("twin", provides=("pairs",), before=("pairs",))
    assert said(twin, twin, BACKEND) == ""


_names = some.sampled_from("abcdef")


@some.composite
def chains(draw: some.DrawFn) -> list[Declared]:
    some_names = some.lists(_names, max_size=2).map(tuple)
    links = [
        Declared(name, False, draw(some_names), draw(some_names), draw(some_names))
        for name in draw(some.lists(_names, max_size=6))
    ]
    return [*links, BACKEND]


@given(chains(), some.randoms())
def test_any_permutation_of_a_chain_that_suits_is_accepted_or_answered_with_one_that_is(links, random):
    right = judge(links).order
    if right is None:
        return
    valid = [links[position] for position in right]
    assert judge(valid).faults == ()
    random.shuffle(valid)
    judgement = judge(valid)
    assert judgement.order is not None
    assert sorted(judgement.order) == list(range(len(valid)))
    assert (judgement.faults == ()) == (judgement.order == tuple(range(len(valid))))
    assert judge([valid[position] for position in judgement.order]).faults == ()


@given(
    some.permutations(["count", "readonly", "catia", "fruit", "streams_xattr", "acl_xattr", "dos_attributes", "posix"])
)
def test_the_stock_modules_put_themselves_in_order(names):
    judgement = judge(stock(*names))
    assert judgement.order is not None
    order = judgement.right_names
    assert order[-1] == "posix"
    assert judge(stock(*order)).faults == ()
    ranks = [order.index(name) for name in ("catia", "fruit", "streams_xattr", "acl_xattr")]
    assert ranks == sorted(ranks)
    assert order.index("readonly") < order.index("streams_xattr")


def test_what_the_stock_modules_name_is_there():
    kinds = [declared(load_module(name), name) for name in installed_modules()]
    for kind in kinds:
        for wanted in {*kind.before, *kind.after, *kind.requires, *kind.conflicts}:
            assert any(other.answers_to(wanted) for other in kinds), f"{kind.name} names {wanted}"


def test_a_chain_is_judged_when_it_is_built():
    streams, macs = load_module("streams_xattr"), load_module("fruit")
    with pytest.raises(ModuleError, match=r"^share 'x': 'fruit' must stand above .* the right order is \[\"fruit\", "):
        build_chain([streams(), macs(), MemoryBackend()], ShareInfo("x", "/nowhere"))


@pytest.mark.parametrize("value", ["streams", ["streams"], (1,)])
def test_a_declaration_that_is_no_tuple_of_names_is_refused_where_it_is_written(value):
    with pytest.raises(ModuleError, match=r"Faulty.before: must be a tuple of names"):
        type("Faulty", (VfsModule,), {"before": value})
