"""What a module keeps beside the share: values by key, and a folder, both private to it, both there after a restart.

Never inside the share, where clients could see it, and never another module's. Two modules of one name in a chain
have a store each, by their order; a share that gets another name begins anew.
"""

from collections.abc import Mapping

from lamina.vfs_modules.engine import offload
from lamina.vfs_modules.services.stores import Store
from lamina.vfs_modules.services.surroundings import Owner, surrounded
from lamina.vfs_modules.token import SERVER_TOKEN


class Storage:
    """A module's store. Every method may wait, and raises OSError: EIO, EPERM, or ENOSPC beyond the limit.

    What a change has returned from survives a crash of the machine, and is there or not there as a whole. What is kept
    is bounded by the module's `storage_limit`; keys are any text, values any bytes.
    """

    __slots__ = ("_limit", "_owner")

    def __init__(self, owner: Owner, limit: int) -> None:
        self._owner = owner
        self._limit = limit

    def get(self, key: str) -> bytes | None:
        """The value of a key, or None."""
        return offload(SERVER_TOKEN, lambda: self._opened().get(key))

    def items(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """The keys that begin with `prefix` and their values, in the order of the keys."""
        return offload(SERVER_TOKEN, lambda: self._opened().items(prefix))

    def set(self, key: str, value: bytes) -> None:
        """Keep a value."""
        self.update({key: value})

    def delete(self, key: str) -> None:
        """Forget a key, if there is one."""
        self.update({key: None})

    def update(self, changes: Mapping[str, bytes | None]) -> None:
        """Keep values and forget keys (None), all of them or, when it raises, none."""
        offload(SERVER_TOKEN, lambda: self._opened().change(changes, self._limit))

    def used(self) -> int:
        """The bytes of all keys and values."""
        return offload(SERVER_TOKEN, lambda: self._opened().size())

    def folder(self) -> str:
        """A folder for files of the module's own, such as a database's, which the limit does not count.

        Mode 0700, the server's. Use it with the server's identity, inside `offload(SERVER_TOKEN, …)`.
        """
        return offload(SERVER_TOKEN, lambda: self._opened().files())

    def _opened(self) -> Store:
        return surrounded(self._owner, "storage").stores.open(*self._owner.where())
