"""NtVolume: one share as a volume of the NT level (MS-FSA 2.1.1.1 Per Volume)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from lamina.ntfsa.content.offload_tokens import OffloadTokens
from lamina.ntfsa.grants.grant_holders import LeaseTable
from lamina.ntfsa.grants.outside_access import outside_access
from lamina.ntfsa.naming.directory_index import DirectoryIndexes
from lamina.ntfsa.naming.doomed import DoomedNames
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.notify.name_changes import NameChanges
from lamina.ntfsa.record import FileKey
from lamina.ntfsa.registry import Registry
from lamina.ntfsa.security.identities import IdentityMap
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.token import SERVER_TOKEN

if TYPE_CHECKING:
    from lamina.ntfsa.notify.watchers import Watchers
    from lamina.ntfsa.open_state import NtOpen
    from lamina.ntfsa.security.audit import AuditEvent
    from lamina.ntfsa.workers.awaited_names import AwaitedNames
    from lamina.ntfsa.workers.volume_peers import VolumePeers
    from lamina.vfs_modules.chain import Chain


@dataclass(frozen=True, slots=True)
class VolumeSettings:
    """How a share behaves as a volume.

    `label` "" means the share's name. `file_mode`, `directory_mode`: permission bits of what clients make.
    `hide_dot_files`: names that begin with a period are shown as hidden; so are `hidden_names` (folded: `names.fold`).
    `access_based_enumeration`: listings leave out what the user may not read. `indexed_names` bounds the memory of the
    directory indexes. `sector_size`: bytes, for FileFsSectorSizeInformation.
    `write_time_delay_ns`: nanoseconds until a write shows in the last write time (see `modification`); 0 is at once.
    `follow_symlinks`: symbolic links within the share are followed by the server; otherwise clients are told of them.
    `change_notify`: who waits for changes in a directory learns of all ("all"), of those made through this share alone
    ("share"), or is refused ("off"). `oplocks`: whether clients may cache at all; `directory_leases`:
    what they have listed, too. `durable_handles`: what is open outlives the connection of a client that wants it to.
    """

    read_only: bool = False
    label: str = ""
    file_mode: int = 0o744
    directory_mode: int = 0o755
    hide_dot_files: bool = True
    hidden_names: frozenset[str] = frozenset()
    access_based_enumeration: bool = False
    indexed_names: int = 1_000_000
    sector_size: int = 512
    write_time_delay_ns: int = 2_000_000_000
    follow_symlinks: bool = True
    change_notify: Literal["all", "share", "off"] = "all"
    oplocks: bool = True
    directory_leases: bool = True
    durable_handles: bool = True
    posix_extensions: bool = True

    def hides(self, name: str) -> bool:
        """Whether a file of this name is shown as hidden, whatever its attributes."""
        if name[:1] == "." and self.hide_dot_files:
            return name not in {".", ".."}
        return bool(self.hidden_names) and fold(name) in self.hidden_names


class NtVolume:
    """A share's volume. `root` is the share's root directory; `serial` and `guid` are the same at every start.

    `lock_ticket` numbers the lock requests that wait, `moves` the renames that have been done. `doomed`: under which
    name, as chain path, a file whose deletion is pending is to be deleted: it may have others. `chain` is for the
    handles of files alone, `whole_chain` for those of streams, too. `watchers` is None while nobody watches a
    directory: then changes are not reported, and cost nothing. `outside` is None where local programs do not end what
    clients cache. `leases` are those of all
    volumes of a server. `emptied`: opens of named streams that were cut to nothing by clients for whom these then
    vanish. `peers`: the same share on other workers, and `awaited`, where it has persistent opens, the names under
    which they wait there; None where one process serves it. `extensions`: what modules add to
    the protocol. `posix_extensions`: whether opens may have POSIX semantics. Made inside a request: opening the root
    may wait.
    """

    __slots__ = (
        "_opens",
        "_stream_opens",
        "audit",
        "awaited",
        "capabilities",
        "chain",
        "doomed",
        "durable_handles",
        "emptied",
        "extensions",
        "guid",
        "has_security",
        "has_streams",
        "identities",
        "indexes",
        "label",
        "leases",
        "lock_ticket",
        "moves",
        "name",
        "name_changes",
        "offload_tokens",
        "outside",
        "peers",
        "posix_extensions",
        "registry",
        "root",
        "root_key",
        "root_stat",
        "serial",
        "settings",
        "watchers",
        "whole_chain",
    )

    def __init__(
        self,
        name: str,
        chain: "Chain",
        registry: Registry,
        identities: IdentityMap,
        settings: VolumeSettings = VolumeSettings(),  # immutable
        leases: LeaseTable | None = None,
    ) -> None:
        """`chain` must be connected. Raises OSError where its root cannot be opened."""
        self.name = name
        self.chain = chain.files
        self.whole_chain = chain
        self.registry = registry
        self.leases = leases if leases is not None else LeaseTable()
        self.identities = identities
        self.settings = settings
        self.label = settings.label or name
        self.capabilities: Capability = chain.capabilities
        self.extensions = chain.extensions
        self.posix_extensions = settings.posix_extensions and Capability.CASE_SENSITIVE in chain.capabilities
        self.durable_handles = settings.durable_handles and Capability.DURABLE_HANDLES in chain.capabilities
        self.has_streams = Capability.STREAMS in chain.capabilities
        self.has_security = Capability.SECURITY in chain.capabilities
        self.root = chain.open_root(SERVER_TOKEN)
        self.root_stat = chain.fstat(SERVER_TOKEN, self.root)
        self.root_key = (self.root_stat.dev, self.root_stat.ino)
        self.guid = self._make_guid()
        self.serial = int.from_bytes(self.guid[:4], "little") or 1
        self.indexes = DirectoryIndexes(chain, self.root, settings.indexed_names, chain.extensions.short_names)
        self.lock_ticket = 0
        self.moves = 0
        self.peers: VolumePeers | None = None
        self.awaited: AwaitedNames | None = None
        self.doomed = DoomedNames()
        self.emptied: set[int] = set()
        self.offload_tokens = OffloadTokens()
        self.audit: Callable[[AuditEvent], None] | None = None
        self.outside = outside_access(chain, registry)
        self.watchers: Watchers | None = None
        self.name_changes = NameChanges(self)
        self._opens: dict[FileKey, list[NtOpen]] = {}
        self._stream_opens: dict[tuple[int, int], list[NtOpen]] = {}

    def _make_guid(self) -> bytes:
        try:
            volume_id = self.chain.statfs(SERVER_TOKEN, self.root).volume_id
        except OSError:
            volume_id = 0
        return blake2b(f"{volume_id}:{self.root_stat.ino}:{self.name}".encode(), digest_size=16).digest()

    def add_open(self, open_: "NtOpen") -> None:
        """Note an open of this volume, so that renames reach it."""
        if open_.file_key[2]:
            self._stream_opens.setdefault(open_.file_key[:2], []).append(open_)
        opens = self._opens.get(open_.file_key)
        if opens is None:
            self._opens[open_.file_key] = [open_]
        else:
            opens.append(open_)

    def remove_open(self, open_: "NtOpen") -> None:
        """Forget an open; nothing happens if it is not known."""
        opens = self._opens.get(open_.file_key)
        if opens is not None and open_ in opens:
            opens.remove(open_)
            if not opens:
                del self._opens[open_.file_key]
            if open_.file_key[2]:
                self._forget_stream(open_)

    def _forget_stream(self, open_: "NtOpen") -> None:
        opens = self._stream_opens[open_.file_key[:2]]
        opens.remove(open_)
        if not opens:
            del self._stream_opens[open_.file_key[:2]]

    def opens_of(self, key: FileKey) -> "list[NtOpen]":
        """The opens of one file on this volume."""
        return self._opens.get(key, [])

    def stream_opens_of(self, key: FileKey) -> "list[NtOpen]":
        """The opens of the named streams of one file on this volume."""
        return self._stream_opens.get(key[:2], [])

    def opens_beneath(self, vfs_path: str) -> "Iterator[NtOpen]":
        """The opens of everything beneath a directory. Looks at every open: for renames of directories only."""
        prefix = vfs_path + "/"
        for opens in self._opens.values():
            for open_ in opens:
                if open_.vfs_path.startswith(prefix):
                    yield open_

    def all_opens(self) -> "Iterator[NtOpen]":
        """Every open there is."""
        for opens in self._opens.values():
            yield from opens

    def open_count(self) -> int:
        """How many opens there are."""
        return sum(map(len, self._opens.values()))

    def close(self) -> None:
        """Give back the root and the indexes. All opens must have been closed."""
        self.indexes.close()
        self.chain.close(SERVER_TOKEN, self.root)
