"""Following a chain: what its modules do as a tree of steps, and nothing of it before and afterwards."""

import errno
import threading
from collections.abc import Iterator

import pytest

from lamina.vfs_modules.chain import Chain
from lamina.vfs_modules.extensions import OpenedFile, control
from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import OPERATIONS
from lamina.vfs_modules.stock.count import CountModule
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.stock.streams_xattr import StreamsXattrModule
from lamina.vfs_modules.testing import local_chain, make_token
from lamina.vfs_modules.testing.hand import NEEDS, Hand
from lamina.vfs_modules.testing.suite import checks
from lamina.vfs_modules.tracing import MAX_STEPS, Follower, Gathering, Root, Step

TOKEN = make_token(user_name="ada")


class Twice(VfsModule):
    """Reads twice, and removes by renaming."""

    name = "twice"

    def pread(self, token, handle, buffer, offset):
        self.next.pread(token, handle, buffer, offset)
        return self.next.pread(token, handle, buffer, offset)

    def unlink(self, token, directory, path):
        self.next.rename(token, directory, path, directory, path + ".gone", True)

    def readdir(self, token, handle, with_attributes=False):
        for entry in self.next.readdir(token, handle, with_attributes):
            yield entry._replace(name=entry.name.upper())


class Followed:
    def __init__(self, *modules: VfsModule) -> None:
        self.chain = local_chain("/nowhere", *modules)
        self.hand = Hand(self.chain, TOKEN)
        self.alone: list[Root] = []
        self.gathering = Gathering()
        self.follower = Follower(
            self.chain, self.gathering, [(self.hand.root, "")], lambda token, root: self.alone.append(root)
        )
        self.follower.start()

    def under_a_request(self, work) -> Root:
        root = self.gathering.begin(None)
        work()
        self.gathering.end(None)
        return root


def shape(step: Step) -> list:
    return [(f"{one.module}.{one.operation}", shape(one)) for one in step.steps]


def functions(chain: Chain) -> list[object]:
    views = (chain, chain.files, *(module.next for module in chain.modules[:-1]))
    return [getattr(view, name) for view in views for name in OPERATIONS]


def test_each_module_is_a_step_below_the_one_that_called_it() -> None:
    followed = Followed(CountModule(), Twice(), MemoryBackend())
    handle = followed.hand.make("file", b"data")
    root = followed.under_a_request(lambda: followed.hand.read(handle, 10))
    below = [("memory.pread", []), ("memory.pread", [])]
    assert shape(root) == [("count.pread", [("twice.pread", below)])]
    step = root.steps[0]
    assert step.arguments["path"] == "file"
    assert (step.arguments["offset"], step.arguments["length"], step.result) == (0, 10, {"count": 4})


def test_another_operation_below_is_shown_as_what_it_is() -> None:
    followed = Followed(Twice(), MemoryBackend())
    followed.hand.make("file")
    root = followed.under_a_request(lambda: followed.chain.unlink(TOKEN, followed.hand.root, "file"))
    assert shape(root) == [("twice.unlink", [("memory.rename", [])])]
    assert root.steps[0].steps[0].arguments["target"] == "file.gone"


def test_failures_have_the_name_of_their_error() -> None:
    followed = Followed(Twice(), MemoryBackend())

    def fail() -> None:
        with pytest.raises(FileNotFoundError):
            followed.hand.open("missing")

    (step,) = followed.under_a_request(fail).steps
    assert (step.error, step.result) == (errno.errorcode[errno.ENOENT], {})


def test_times_are_told_with_and_without_what_is_below() -> None:
    followed = Followed(Twice(), MemoryBackend())
    handle = followed.hand.make("file", b"data")
    (step,) = followed.under_a_request(lambda: followed.hand.read(handle, 10)).steps
    inner = sum(one.nanoseconds for one in step.steps)
    assert step.nanoseconds >= inner > 0
    assert step.own_nanoseconds == step.nanoseconds - inner


def test_what_nobody_asked_for_is_told_apart() -> None:
    followed = Followed(MemoryBackend())
    followed.hand.mkdir("folder")
    (root,) = followed.alone
    assert shape(root) == [("memory.mkdir", [])]
    assert root.nanoseconds == root.steps[0].nanoseconds


def test_a_listing_takes_its_time_where_it_is_read() -> None:
    followed = Followed(Twice(), MemoryBackend())
    for name in ("a", "b", "c"):
        followed.hand.mkdir(name)
    entries: list[Iterator] = []
    first = followed.under_a_request(
        lambda: entries.append(followed.chain.readdir(TOKEN, followed.hand.root)) or next(entries[0])
    )
    assert shape(first) == [("twice.readdir", [("memory.readdir", [])])]
    assert first.steps[0].result == first.steps[0].steps[0].result == {"entries": 1}
    second = followed.under_a_request(lambda: list(entries[0]))
    assert shape(second) == [("twice.readdir", [("memory.readdir", [])])]
    assert second.steps[0].result == {"entries": 2}
    assert not second.steps[0].error


def test_the_chain_is_as_it_was_when_nobody_looks_any_more() -> None:
    backend = MemoryBackend()
    followed = Followed(StreamsXattrModule(), DosAttributesModule(), backend)
    during = functions(followed.chain)
    followed.follower.stop()
    after = functions(followed.chain)
    assert after != during
    assert followed.chain.files.pread == backend.pread
    assert followed.chain.modules[0].next.pread == backend.pread
    again = Followed(StreamsXattrModule(), DosAttributesModule(), MemoryBackend())
    again.follower.stop()
    assert [getattr(one, "__qualname__", "") for one in after] == [
        getattr(one, "__qualname__", "") for one in functions(again.chain)
    ]


def test_streams_that_a_module_keeps_itself_are_followed_too() -> None:
    from lamina.vfs_modules.operations import Access, OpenHow

    followed = Followed(StreamsXattrModule(), DosAttributesModule(), MemoryBackend())
    handle = followed.hand.make("file")
    how = OpenHow(Access.READ_WRITE, create=True)
    stream = followed.chain.open_stream(TOKEN, handle, "note", how)
    root = followed.under_a_request(lambda: followed.chain.pwrite(TOKEN, stream, memoryview(b"text"), 0))
    (step,) = root.steps
    assert (step.module, step.operation, step.arguments["path"]) == ("streams_xattr", "pwrite", "file:note")
    assert {one.operation for one in step.steps} >= {"setxattr"}


def test_who_interposes_meanwhile_keeps_doing_so() -> None:
    backend = MemoryBackend()
    followed = Followed(backend)
    seen: list[str] = []

    def wrap(operation, call):
        return lambda *arguments: (seen.append(operation.name), call(*arguments))[1]

    followed.chain.interpose(wrap)
    root = followed.under_a_request(lambda: followed.hand.mkdir("one"))
    followed.follower.stop()
    followed.hand.mkdir("two")
    assert seen == ["mkdir", "mkdir"]
    assert shape(root) == [("memory.mkdir", [])]
    followed.chain.restore()
    assert followed.chain.mkdir == backend.mkdir


def test_what_a_module_adds_to_the_protocol_is_followed_too() -> None:
    class Sizes(VfsModule):
        name = "sizes"

        @control(0x00366000)
        def size(self, token, opened, data, room):
            return str(self.next.fstat(token, opened.handle).size).encode()

    followed = Followed(Sizes(), MemoryBackend())
    opened = OpenedFile(followed.hand.make("file", b"data"), "file", "", 0)
    extension = followed.follower.extensions().controls[0x00366000]
    root = followed.under_a_request(lambda: extension.call(TOKEN, opened, b"", 10))
    assert shape(root) == [("sizes.control code 0x00366000", [("memory.fstat", [])])]
    assert (root.steps[0].arguments["path"], root.steps[0].result) == ("file", {"length": 1})
    assert followed.chain.extensions.controls[0x00366000].call(TOKEN, opened, b"", 10) == b"4"


def test_no_more_than_so_many_steps_are_kept() -> None:
    followed = Followed(MemoryBackend())
    handle = followed.hand.make("file", b"data")
    root = followed.under_a_request(lambda: [followed.hand.read(handle, 1) for _ in range(MAX_STEPS + 7)])
    assert (len(root.steps), root.left_out) == (MAX_STEPS, 7)


def test_what_another_thread_does_is_done_and_not_followed() -> None:
    followed = Followed(MemoryBackend())
    thread = threading.Thread(target=followed.hand.mkdir, args=("folder",))
    thread.start()
    thread.join()
    assert followed.hand.names() == {"folder"}
    assert all(step.operation != "mkdir" for root in followed.alone for step in root.all())


def test_handles_that_were_open_before_have_their_path() -> None:
    chain = local_chain("/nowhere", MemoryBackend())
    hand = Hand(chain, TOKEN)
    handle = hand.make("file", b"data")
    alone: list[Root] = []
    follower = Follower(chain, Gathering(), [(handle, "folder/file")], lambda token, root: alone.append(root))
    follower.start()
    hand.read(handle, 1)
    assert alone[0].steps[0].arguments["path"] == "folder/file"


def test_a_module_that_cannot_be_asked_again_leaves_the_chain_as_it_was() -> None:
    class Once(VfsModule):
        name = "once"

        def around(self, operation, call):
            if self.share is not None and hasattr(self, "_asked_for_all"):
                raise RuntimeError("asked again")
            if operation.name == list(OPERATIONS)[-1]:
                self._asked_for_all = True
            return call

    backend = MemoryBackend()
    chain = local_chain("/nowhere", Once(), backend)
    follower = Follower(chain, Gathering(), [], lambda token, root: None)
    with pytest.raises(RuntimeError):
        follower.start()
    assert chain.pread == backend.pread
    assert isinstance(chain.open_root(TOKEN), VfsHandle)


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
def test_a_chain_that_is_traced_does_what_it_did(check) -> None:
    chain = local_chain("/nowhere", StreamsXattrModule(), DosAttributesModule(), MemoryBackend())
    Follower(chain, Gathering(), [], lambda token, root: None).start()
    if NEEDS[check] in chain.capabilities:
        check(chain, TOKEN)
