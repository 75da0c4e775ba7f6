"""What every part of `ceph` knows: its options, its connection, and how the cluster is asked for a handle or a path."""

import errno
from collections.abc import Callable
from typing import Any, TypeVar

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.module import Backend
from lamina.vfs_modules.token import SERVER_TOKEN, ImpersonationToken

from lamina_ceph.connection import Connection
from lamina_ceph.errors import LOST, StaleHandle
from lamina_ceph.files import Opened
from lamina_ceph.mount import Mount
from lamina_ceph.options import CephOptions
from lamina_ceph.permissions import UserPermissions
from lamina_ceph.walking import Walk

_T = TypeVar("_T")


class CephShare(Backend):
    """The base of the parts.

    Functions for threads have as their first argument the mount, or a walk, and then the open file.
    """

    Options = CephOptions
    options: CephOptions

    _connection: Connection
    _hidden: bytes
    _follows: bool
    _unwell = False

    def _ask(
        self,
        function: Callable[..., _T],
        *arguments: Any,
        late: Callable[[_T], object] | None = None,
        again: bool = False,
    ) -> _T:
        """Ask the cluster on a thread. `again`: it can be asked once more where the mount turns out to be lost."""
        try:
            answer = self._asked(function, arguments, late, again)
        except TimeoutError:
            self._unwell = True
            self.health.degraded("the cluster does not answer in time")
            raise
        except OSError as error:
            if error.errno in LOST:
                self._unwell = True
                self.health.degraded("the cluster has put this server out, or cannot be reached")
                raise OSError(errno.EIO, "the connection to the cluster was lost") from error
            if error.errno == errno.EHOSTDOWN:
                self.health.failed("the cluster does not answer")
            raise
        if self._unwell:
            self._unwell = False
            self.health.ok()
        return answer

    def _asked(
        self, function: Callable[..., _T], arguments: tuple[Any, ...], late: Callable[[_T], object] | None, again: bool
    ) -> _T:
        call: Callable[..., _T] = self._connection.call
        try:
            return call(function, *arguments, late=late)
        except OSError as error:
            if error.errno not in LOST or not again:
                raise
        return call(function, *arguments, late=late)

    def _of(self, handle: VfsHandle, function: Callable[..., _T], *arguments: Any, again: bool = True) -> _T:
        """Ask `function(mount, opened, *arguments)` about an open file, which stays open meanwhile."""
        ask: Callable[..., _T] = self._ask
        return ask(_using, handle.private, function, arguments, again=again)

    def _beneath(
        self,
        token: ImpersonationToken,
        directory: VfsHandle,
        function: Callable[..., _T],
        *arguments: Any,
        late: Callable[[_T], object] | None = None,
        again: bool = False,
    ) -> _T:
        """Ask `function(walk, opened directory, *arguments)` about paths, as the user of the token."""
        hidden = b"" if token is SERVER_TOKEN else self._hidden
        permissions = self._permissions(token)
        opened = directory.private
        ask: Callable[..., _T] = self._ask
        return ask(*(_walking, permissions, self._follows, hidden, opened, function, arguments), late=late, again=again)

    def _permissions(self, token: ImpersonationToken) -> UserPermissions:
        return self._connection.permissions.of(token)


def _using(mount: Mount, opened: Opened, function: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
    with opened.used(mount):
        fh = opened.fh
        try:
            return function(mount, opened, *arguments)
        except StaleHandle:
            opened.reopen(fh)
        return function(mount, opened, *arguments)


def _walking(
    mount: Mount,
    permissions: UserPermissions,
    links: bool,
    hidden: bytes,
    opened: Opened,
    function: Callable[..., _T],
    arguments: tuple[Any, ...],
) -> _T:
    with opened.used(mount):
        return function(Walk(mount, permissions, links, hidden), opened, *arguments)
