"""`transparent`, `count` and `faults`: what stands in chains to measure and to break things."""

import asyncio
import errno
from pathlib import Path

import pytest
from pydantic import ValidationError

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.engine import Engine
from lamina.vfs_modules.module import implements
from lamina.vfs_modules.operations import OPERATIONS, Access, OpenHow
from lamina.vfs_modules.stock.count import Count, CountModule, CountOptions
from lamina.vfs_modules.stock.faults import Fault, FaultsModule, FaultsOptions
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.transparent import TransparentModule, TransparentOptions
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import Hand

TOKEN = make_token()


def hand_over(*modules) -> Hand:
    return Hand(local_chain("/nowhere", *modules, MemoryBackend()), TOKEN)


# transparent


def test_ten_transparent_modules_leave_the_backends_own_functions() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", *(TransparentModule() for _ in range(10)), backend)
    for name in (name for name in OPERATIONS if implements(MemoryBackend, name)):
        assert getattr(chain, name) == getattr(backend, name)
        assert getattr(chain.files, name) == getattr(backend, name)


def test_a_transparent_module_passes_what_it_is_told_to() -> None:
    backend = MemoryBackend()
    chain = local_chain("/nowhere", TransparentModule(TransparentOptions(operations={"pread"})), backend)
    assert chain.pread != backend.pread
    assert chain.pwrite == backend.pwrite
    hand = Hand(chain, TOKEN)
    assert hand.read(hand.make("file", b"data"), 10) == b"data"


def test_unknown_operations_are_refused() -> None:
    with pytest.raises(ValidationError, match="no operation is called peek"):
        TransparentOptions(operations={"peek"})
    assert TransparentOptions(operations={"all"}).operations == frozenset(OPERATIONS)


# count


def test_operations_and_failures_are_counted() -> None:
    count = CountModule()
    hand = hand_over(count)
    handle = hand.make("file", b"data")
    hand.read(handle, 2)
    hand.read(handle, 2)
    with pytest.raises(FileNotFoundError):
        hand.open("missing")
    counts = count.counts()
    assert counts["pread"] == Count(2, 0)
    assert counts["open"] == Count(2, 1)
    assert "rename" not in counts
    count.reset()
    assert count.counts() == {}


def test_only_chosen_operations_are_counted() -> None:
    backend, count = MemoryBackend(), CountModule(CountOptions(operations={"open"}))
    chain = local_chain("/nowhere", count, backend)
    assert chain.pread == backend.pread
    Hand(chain, TOKEN).make("file")
    assert list(count.counts()) == ["open"]


def test_counts_are_logged_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    hand = hand_over(CountModule())
    hand.make("file")
    hand.chain.disconnect()
    assert "share test: open 1, open_root 1" in caplog.text


# faults


def faulty(*faults: Fault, seed: int = 0) -> tuple[Hand, FaultsModule]:
    module = FaultsModule(FaultsOptions(seed=seed, faults=faults))
    return hand_over(module), module


def outcomes(hand: Hand, count: int) -> list[bool]:
    handle = hand.open("file", OpenHow(Access.READ_WRITE, create=True))
    results = []
    for _ in range(count):
        try:
            hand.read(handle, 1)
        except OSError:
            results.append(False)
        else:
            results.append(True)
    return results


def test_an_error_is_raised_instead_of_the_operation() -> None:
    hand, module = faulty(Fault(operations={"mkdir"}, error="ENOSPC"))
    with pytest.raises(OSError, match="injected") as caught:
        hand.mkdir("folder")
    assert caught.value.errno == errno.ENOSPC
    assert hand.names() == set()
    assert [fault.operation for fault in module.injected] == ["mkdir"]


def test_chance_is_the_same_for_the_same_seed_and_no_other() -> None:
    fault = Fault(operations={"pread"}, error="EIO", probability=0.5)
    runs = [outcomes(faulty(fault, seed=seed)[0], 64) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert 10 < sum(runs[0]) < 54


def test_rules_do_not_change_each_others_chance() -> None:
    reads = Fault(operations={"pread"}, error="EIO", probability=0.5)
    other = Fault(operations={"rename"}, error="EIO")
    assert outcomes(faulty(reads)[0], 32) == outcomes(faulty(reads, other)[0], 32)


def test_a_rule_spares_the_first_calls_and_ends() -> None:
    fault = Fault(operations={"pread"}, error="EIO", after=2, times=3)
    assert outcomes(faulty(fault)[0], 7) == [True, True, False, False, False, True, True]


def test_a_short_read_gives_less_than_there_is() -> None:
    hand, _ = faulty(Fault(operations={"pread"}, short_read=True, times=20))
    handle = hand.make("file", b"x" * 100)
    assert all(len(hand.read(handle, 100)) < 100 for _ in range(20))
    assert len(hand.read(handle, 100)) == 100


def test_a_torn_write_leaves_a_part() -> None:
    hand, _ = faulty(Fault(operations={"pwrite"}, torn_write=True, error="ENOSPC", times=1), seed=3)
    handle = hand.make("file")
    with pytest.raises(OSError) as caught:
        hand.chain.pwrite(TOKEN, handle, memoryview(b"y" * 100), 0)
    assert caught.value.errno == errno.ENOSPC
    left = hand.read(handle, 200)
    assert left == b"y" * len(left)
    assert 0 < len(left) < 100


def test_a_failing_close_closes() -> None:
    hand, _ = faulty(Fault(operations={"close"}, error="EIO", times=1))
    handle = hand.chain.open(TOKEN, hand.root, "file", OpenHow(Access.READ, create=True))
    with pytest.raises(OSError):
        hand.chain.close(TOKEN, handle)
    assert handle.private is None


def test_a_delay_stops_nobody_else() -> None:
    hand, _ = faulty(Fault(operations={"fstat"}, delay=60.0))

    async def serve() -> list[str]:
        engine, order = Engine(asyncio.get_running_loop()), []
        slow = asyncio.ensure_future(engine.run(hand.chain.fstat, TOKEN, hand.root))
        await asyncio.sleep(0)
        await engine.run(lambda: order.append("other"))
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        engine.close()
        return order

    assert asyncio.run(serve()) == ["other"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"operations": {"pread"}}, "needs error, delay"),
        ({"operations": {"pread", "open"}, "short_read": True}, "short_read is for pread"),
        ({"operations": {"open"}, "torn_write": True}, "torn_write is for pwrite"),
        ({"operations": {"open"}, "error": "EWRONG"}, "no error is called"),
        ({"operations": {"open"}, "error": "EIO", "probability": 2}, "less than or equal to 1"),
    ],
)
def test_rules_that_mean_nothing_are_refused(words: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Fault(**words)


def test_a_chain_without_rules_is_untouched(tmp_path: Path) -> None:
    backend = MemoryBackend()
    chain: Chain = local_chain(tmp_path, FaultsModule(), backend)
    done = [name for name in OPERATIONS if implements(MemoryBackend, name)]
    assert all(getattr(chain, name) == getattr(backend, name) for name in done)


def test_other_faults_may_be_given_while_it_runs() -> None:
    module = FaultsModule(FaultsOptions(changeable=True))
    hand = hand_over(module)
    handle = hand.make("file", b"data")
    assert module.inject("pread", error="EIO", times=1) == 0
    with pytest.raises(OSError, match="injected"):
        hand.read(handle, 1)
    assert hand.read(handle, 1) == b"d"
    module.set_faults(Fault(operations={"fstat"}, error="EIO"))
    with pytest.raises(OSError, match="injected"):
        hand.chain.fstat(TOKEN, handle)
    module.set_faults()
    hand.chain.fstat(TOKEN, handle)
    assert [(one.operation, one.rule) for one in module.injected] == [("pread", 0), ("fstat", 1)]


def test_only_a_module_that_is_changeable_takes_other_faults() -> None:
    with pytest.raises(ValueError, match="changeable=True"):
        FaultsModule().inject("pread", error="EIO")
    with pytest.raises(ValidationError, match="no operation is called peek"):
        FaultsModule(FaultsOptions(changeable=True)).inject("peek", error="EIO")


def test_a_fault_may_be_about_some_files_only() -> None:
    hand, module = faulty(
        Fault(operations={"pread", "rename"}, error="EIO", path="*.DB"),
        Fault(operations={"all"}, error="EACCES", path="private/*"),
    )
    hand.mkdir("folder")
    text, data = hand.make("folder/text"), hand.make("folder/data.db", b"data")
    assert hand.read(text, 1) == b""
    for fails in (
        lambda: hand.read(data, 1),
        lambda: hand.rename("folder/text", "folder/text.db"),
        lambda: hand.rename("folder/data.db", "folder/data"),
        lambda: hand.open("private/file"),
    ):
        with pytest.raises(OSError, match="injected"):
            fails()
    paths = [(one.operation, one.path) for one in module.injected]
    assert paths == [
        ("pread", "folder/data.db"), ("rename", "folder/text"), ("rename", "folder/data.db"), ("open", "private/file"),
    ]  # fmt: skip
    assert hand.names("folder") == {"text", "data.db"}


def test_the_path_of_a_stream_is_that_of_its_file_and_its_name() -> None:
    hand, module = faulty(Fault(operations={"pwrite"}, error="EIO", path="file:note"))
    handle = hand.make("file", b"data")
    stream = hand.chain.open_stream(TOKEN, handle, "note", OpenHow(Access.READ_WRITE, create=True))
    with pytest.raises(OSError, match="injected"):
        hand.chain.pwrite(TOKEN, stream, memoryview(b"x"), 0)
    assert module.injected[0].path == "file:note"
