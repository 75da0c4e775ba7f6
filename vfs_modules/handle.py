"""The VFS handle: one object for an open file or directory, shared by all the modules of its chain."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.vfs_modules.streams import StreamFile


class VfsHandle:
    """An open file or directory at the file-system level.

    `fd` is the backend's file descriptor, or -1 where a backend has none. `private` is the backend's own.
    `slots` holds one place for each module of the chain (`VfsModule.slot`), None until that module uses it.
    """

    __slots__ = ("fd", "is_directory", "private", "slots")

    def __init__(self, fd: int, is_directory: bool, private: Any = None) -> None:
        self.fd = fd
        self.is_directory = is_directory
        self.private = private
        self.slots: list[Any] | None = None


class StreamHandle(VfsHandle):
    """An open stream that a module keeps in a way of its own: what is done with its data is asked of `file`."""

    __slots__ = ("file",)

    def __init__(self, file: "StreamFile") -> None:
        super().__init__(-1, False)
        self.file = file
