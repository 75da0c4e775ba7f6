"""The one call to the chain by which a name is first opened, whichever way the open then goes.

Modules are asked for each open of a client once: what an audit tells, and what is counted, is what the client did. So
the short way (`quick_open`) leaves what came of its call to the long one, where it is not plain.
"""

from typing import TYPE_CHECKING, Final

from lamina.vfs_modules.operations import OpenHow

if TYPE_CHECKING:
    from lamina.ntfsa.volume import NtVolume
    from lamina.vfs_modules.handle import VfsHandle
    from lamina.vfs_modules.token import ImpersonationToken


class FirstTry:
    """What came of opening `path` as `how` says: a handle, or an error. `moves`: of the volume, before it was tried."""

    __slots__ = ("_error", "_handle", "_how", "_moves", "_path")

    def __init__(
        self, path: str, how: OpenHow, moves: int, handle: "VfsHandle | None" = None, error: OSError | None = None
    ) -> None:
        self._path, self._how, self._moves = path, how, moves
        self._handle, self._error = handle, error

    def open(self, volume: "NtVolume", token: "ImpersonationToken", path: str, how: OpenHow) -> "VfsHandle":
        """The handle, or the error that came instead of it, once; whatever else is asked for is opened. As `open`."""
        handle, error = self._handle, self._error
        if (handle is None and error is None) or (path, how) != (self._path, self._how) or volume.moves != self._moves:
            return volume.chain.open(token, volume.root, path, how)
        self._handle = self._error = None
        if error is not None:
            raise error
        assert handle is not None
        return handle

    def close(self, volume: "NtVolume", token: "ImpersonationToken") -> None:
        """Close the handle, if nobody has asked for it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            volume.chain.close(token, handle)


NOT_TRIED: Final = FirstTry("", OpenHow(), 0)
"""Nothing has been opened yet."""
