"""Extensions of the protocol in a chain: what is refused where it is written, and what a chain without any pays."""

from typing import Any

import pytest

from lamina.vfs_modules.chain import build_chain
from lamina.vfs_modules.extensions import (
    NO_EXTENSIONS,
    InfoType,
    StatusError,
    control,
    create_context,
    directory_entries,
    query_information,
    set_information,
)
from lamina.vfs_modules.module import ModuleError, ShareInfo, VfsModule
from lamina.vfs_modules.operations import Operation
from lamina.vfs_modules.stock.memory import MemoryBackend

SHARE = ShareInfo("test", "/nowhere")


class First(VfsModule):
    name = "first"

    @control(0x00368000)
    def one(self, token: Any, opened: Any, data: memoryview, room: int) -> bytes:
        return b"first"

    @query_information(InfoType.FILE, 0xF0)
    def two(self, token: Any, opened: Any, room: int) -> bytes:
        return b"first"


class Second(VfsModule):
    name = "second"

    @control(0x00368000)
    def one(self, token: Any, opened: Any, data: memoryview, room: int) -> bytes:
        return b"second"


class Setter(VfsModule):
    name = "setter"

    @set_information(InfoType.FILE, 0xF0)
    def two(self, token: Any, opened: Any, data: memoryview) -> None: ...


class Watcher(VfsModule):
    name = "watcher"

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[tuple[str, bool]] = []

    def around(self, operation: Operation, call: Any) -> Any:
        if operation.name != "control code 0x00368000":
            return call

        def seen(*arguments: Any) -> Any:
            self._seen.append((operation.name, operation.mutates))
            return call(*arguments)

        return seen


def test_a_chain_of_modules_that_add_nothing_has_an_empty_table() -> None:
    assert build_chain([VfsModule(), MemoryBackend()], SHARE).extensions is NO_EXTENSIONS


def test_a_method_is_found_by_its_code() -> None:
    extension = build_chain([First(), MemoryBackend()], SHARE).extensions.controls[0x00368000]
    assert extension.call(None, None, b"", 0) == b"first"
    assert extension.owner == "first"


def test_two_modules_that_serve_the_same_are_refused_by_name() -> None:
    with pytest.raises(ModuleError, match="'first' and 'second' both serve control code 0x00368000; a chain can have"):
        build_chain([First(), Second(), MemoryBackend()], SHARE)


def test_query_and_set_of_one_class_are_two_things() -> None:
    extensions = build_chain([First(), Setter(), MemoryBackend()], SHARE).extensions
    assert set(extensions.queries) == set(extensions.settings) == {(InfoType.FILE, 0xF0)}


def test_who_sees_every_operation_sees_extensions_below() -> None:
    watcher = Watcher()
    chain = build_chain([watcher, First(), MemoryBackend()], SHARE)
    assert chain.extensions.controls[0x00368000].call(None, None, b"", 0) == b"first"
    assert watcher._seen == [("control code 0x00368000", True)]


def test_a_method_with_other_parameters_is_refused_where_it_is_defined() -> None:
    with pytest.raises(ModuleError, match="self, token, opened, data, room"):

        class Wrong(VfsModule):
            @control(0x00368000)
            def one(self, token: Any, data: bytes) -> bytes:
                return b""

        Wrong()


@pytest.mark.parametrize(
    "declare",
    [
        lambda: control(1 << 32),
        lambda: create_context(b"AB"),
        lambda: query_information(InfoType.FILE, 256),
        lambda: set_information(InfoType.VOLUME, -1),
    ],
)
def test_codes_that_the_wire_cannot_carry_are_refused(declare: Any) -> None:
    with pytest.raises(ModuleError):
        declare()


def test_details_of_entries_come_from_one_module() -> None:
    class Rich(VfsModule):
        @directory_entries
        def tell(self, token: Any, handle: Any, stat: Any) -> None: ...

    assert build_chain([Rich(), MemoryBackend()], SHARE).extensions.entries is not None
    with pytest.raises(ModuleError, match="the details of directory entries"):
        build_chain([Rich(), Rich(), MemoryBackend()], SHARE)


def test_a_status_must_be_that_of_a_failure() -> None:
    with pytest.raises(ValueError, match="0x103"):
        StatusError(0x103, "pending")
