"""One share's volume among those of the same share on other workers: what a record does not tell of their opens.

Names: which opens are beneath a directory, and that a rename has moved them; under which name a file goes that several
have open. Changes: what is told to those who watch a directory on another worker. And what an open has noted of a file
that another changes.
"""

import marshal
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from lamina.ntfsa.naming.doomed import Doomed, DoomedNames
from lamina.ntfsa.naming.moving import move_opens
from lamina.ntfsa.notify.change_notify import watched_elsewhere
from lamina.ntfsa.notify.foreign_changes import (
    BEGUN,
    CLOSED,
    ENDED,
    OPENED,
    REPORT,
    SETTLED,
    STREAM,
    WRITES,
    ForeignChange,
    ForeignChanges,
    to_plain,
)
from lamina.ntfsa.notify.name_changes import Announced, NameChange
from lamina.ntfsa.status import NtStatus
from lamina.ntfsa.times.archive import note_locally
from lamina.ntfsa.workers.awaited_names import awaited_in
from lamina.ntfsa.workers.numbers import worker_of
from lamina.ntfsa.workers.peers import Peers
from lamina.ntfsa.workers.shared_changes import SharedChanges
from lamina.ntfsa.workers.shared_state import Letter, SharedState, packed_key
from lamina.vfs_modules.changes import Change

if TYPE_CHECKING:
    from lamina.ntfsa.record import FileKey, FileRecord
    from lamina.ntfsa.volume import NtVolume

_BENEATH: Final = "opens beneath"
_MOVED: Final = "moved"
_ATTRIBUTES: Final = "attributes"
_DIRECTORY_GOES: Final = "directory goes"
_WATCHING: Final = "watching"
_WATCHES: Final = "watches"


def name_of(volume: "NtVolume") -> str:
    """What a volume is called among the workers: a share whose folder depends on who connects has many."""
    return f"{volume.name}:{volume.whole_chain.share.path}"


class VolumesOfPeers:
    """The volumes of this worker, by their shares, and what is done about what others tell of them."""

    def __init__(self, peers: Peers, state: SharedState) -> None:
        self.peers = peers
        self.state = state
        self._volumes: dict[str, list[NtVolume]] = {}
        self.moved_here: Callable[[NtVolume, str], None] = lambda _volume, _path: None
        """Told of what is called `path` in the chain now, because another worker has renamed it. May wait."""
        self.changes = SharedChanges(state, self._of)
        handlers: dict[str, Callable[..., object]] = {
            _BENEATH: self._beneath,
            _MOVED: self._moved,
            _ATTRIBUTES: self._attributes,
            _DIRECTORY_GOES: self._directory_goes,
            _WATCHING: self._watching,
            _WATCHES: self._watches,
        }
        for topic, handler in handlers.items():
            peers.handle(topic, handler)
        peers.lost.append(self._lost)

    def enter(self, volume: "NtVolume") -> None:
        """A volume is there from now on. Runs as a request, which waits for the others."""
        volume.peers = VolumePeers(self, volume)
        name = name_of(volume)
        volume.doomed = SharedDoomed(self.state, name)
        volume.awaited = awaited_in(self.state, volume, name)
        self._volumes.setdefault(name, []).append(volume)
        for worker in self.peers.ask(_WATCHES, name, self.peers.number):
            volume.peers.watched_by(worker, True)

    def leave(self, volume: "NtVolume") -> None:
        """A volume is closed."""
        name = name_of(volume)
        self._volumes[name].remove(volume)
        if not self._volumes[name]:
            del self._volumes[name]

    def _of(self, name: str) -> "list[NtVolume]":
        return self._volumes.get(name, [])

    def _beneath(self, name: str, path: str) -> "list[FileKey]":
        return list({open_.file_key for volume in self._of(name) for open_ in volume.opens_beneath(path)})

    def _moved(self, name: str, key: "FileKey", source: str, target: str, directory: bool) -> bool:
        # What has been told of before is told under the old names.
        self.changes.read()
        for volume in self._of(name):
            move_opens(volume, key, (source, target), directory)
            self.moved_here(volume, target)
        return True

    def _attributes(self, name: str, key: "FileKey", attributes: int) -> None:
        for volume in self._of(name):
            note_locally(volume, key, attributes)

    def _directory_goes(self, name: str, key: "FileKey") -> None:
        watchers = [open_.watcher for volume in self._of(name) for open_ in volume.opens_of(key)]
        for watcher in watchers:
            if watcher is not None:
                watcher.end(NtStatus.DELETE_PENDING)

    def _watching(self, name: str, worker: int, begins: bool) -> bool:
        for volume in self._of(name):
            if volume.peers is not None:
                volume.peers.watched_by(worker, begins)
        return True

    def _watches(self, name: str, worker: int) -> int | None:
        found = [volume.peers for volume in self._of(name) if volume.peers is not None]
        for peers in found:
            peers.announce_to((worker,))
        return self.peers.number if any(peers.watches for peers in found) else None

    def _lost(self, worker: int) -> None:
        self.changes.read()
        for volumes in self._volumes.values():
            for volume in volumes:
                if volume.peers is not None:
                    volume.peers.foreign.lost(worker)
                    volume.peers.watched_by(worker, False)


class VolumePeers:
    """What a volume asks of and tells the same share on other workers. `watches`: somebody watches here."""

    def __init__(self, volumes: VolumesOfPeers, volume: "NtVolume") -> None:
        self.foreign = ForeignChanges(volume)
        self._peers = volumes.peers
        self._changes = volumes.changes
        self._volume = volume
        self._name = name_of(volume)
        self._watching: set[int] = set()
        self._confirmed = False
        self.watches = False

    # -- names ----------------------------------------------------------------------------------------------------

    def opens_beneath(self, path: str) -> "set[FileKey]":
        """The files beneath a directory that are open elsewhere. Waits."""
        answers = self._peers.ask(_BENEATH, self._name, path)
        return {tuple(key) for keys in answers for key in keys}

    def moved(self, key: "FileKey", source: str, target: str, directory: bool) -> None:
        """A rename is done: wait until all know of it who have something open by the old name, or are about to."""
        self._peers.ask(_MOVED, self._name, key, source, target, directory)

    def has_others(self, record: "FileRecord") -> bool:
        """Whether other workers have a file open."""
        number = self._peers.number
        return any(worker_of(entry.owner) != number for entry in record.opens)

    def attributes_changed(self, key: "FileKey", attributes: int) -> None:
        """A file that others may have open has got these attributes."""
        if self.has_others(self._volume.registry.read(key)):
            self._peers.tell(_ATTRIBUTES, self._name, key, attributes)

    def directory_goes(self, key: "FileKey") -> None:
        """A directory is to be deleted: who watches it elsewhere waits in vain."""
        if self.has_others(self._volume.registry.read(key)):
            self._peers.tell(_DIRECTORY_GOES, self._name, key)

    # -- changes --------------------------------------------------------------------------------------------------

    def begin_watching(self) -> None:
        """From now on changes that are made elsewhere are told here; waits until that is so."""
        if not self._confirmed:
            self.watches = True
            self.announce_to(self._peers.others)
            self._peers.ask(_WATCHING, self._name, self._peers.number, True, for_certain=True)
            self._confirmed = self.watches

    def end_watching(self) -> None:
        """Nobody watches here any more."""
        if self.watches:
            self.watches = self._confirmed = False
            self._peers.tell(_WATCHING, self._name, self._peers.number, False)

    def watched_by(self, worker: int, begins: bool) -> None:
        """Whether somebody watches on another worker."""
        (self._watching.add if begins else self._watching.discard)(worker)
        watched_elsewhere(self._volume, bool(self._watching))
        if begins:
            self.announce_to(self._peers.others)

    @property
    def is_watched(self) -> bool:
        """Whether somebody watches on another worker."""
        return bool(self._watching)

    def read_changes(self) -> bool:
        """Know what others have done by now, and tell those who watch. False where that is being done already."""
        return self._changes.read()

    # What follows are the letters of `ForeignChanges`.

    def _letter(self, kind: str, *what: Any) -> Letter:
        return (kind, self._name, self._peers.number, *what)

    def name_change_begins(self, change: "NameChange") -> bool:
        """Somebody is about to change names here. False where there is news of others, so that he must look again."""
        if not self.watches and not self._watching:
            return True
        announced = Announced(self._changes.new_number(), self._peers.others)
        letter = self._letter(BEGUN, announced.number, change.paths, change.tree)
        if not self._changes.post_first(announced.to, letter):
            return False
        change.announced = announced
        return True

    def announce_to(self, workers: Iterable[int]) -> None:
        """Others are to know what is being done just now."""
        for change in self._volume.name_changes.all():
            if isinstance(change, ForeignChange):
                continue
            known = change.announced or Announced(self._changes.new_number(), frozenset())
            news = frozenset(workers) - known.to
            change.announced = known._replace(to=known.to | news)
            self._changes.post(news, self._letter(BEGUN, known.number, change.paths, change.tree))

    def name_change_ended(
        self, change: "NameChange", caused: Iterable[Change], reports: Iterable[tuple[Change, bytes]], certain: bool
    ) -> None:
        """It is over; `reports`: what is to be told of it."""
        announced = change.announced
        number, to = announced or (0, frozenset())
        to |= self._watching
        if to:
            told = tuple((to_plain(report), by) for report, by in reports)
            letter = self._letter(ENDED, number, change.paths, tuple(map(to_plain, caused)), told, certain)
            self._changes.post_for_certain(to, letter)

    def window_opens(self, paths: Sequence[str]) -> Announced | None:
        """What files hold is about to change."""
        if not self._watching:
            return None
        announced = Announced(self._changes.new_number(), frozenset(self._watching))
        self._changes.post(announced.to, self._letter(OPENED, announced.number, tuple(paths)), ring=False)
        return announced

    def window_closes(self, announced: Announced, done: bool) -> None:
        """That is over."""
        self._changes.post_for_certain(announced.to, self._letter(CLOSED, announced.number, done))

    def writes(self, path: str) -> None:
        """A file is about to be written to, of which will be told: by a report that settles it, or `settled`."""
        self._changes.post(self._watching, self._letter(WRITES, path), ring=False)

    def settled(self, path: str) -> None:
        """Nothing is to be told of it any more."""
        if self._watching:
            self._changes.post_for_certain(self._watching, self._letter(SETTLED, path))

    def report(self, changed: int, by: bytes, events: tuple[tuple[int, str], ...], settles: bool) -> None:
        """Tell who watches elsewhere; see `Watchers`."""
        if self._watching:
            self._changes.post(self._watching, self._letter(REPORT, changed, by, events, settles))

    def stream_changed(self, path: str, stream: str, action: int, changed: int, by: bytes) -> None:
        """The same of a stream."""
        if self._watching:
            self._changes.post(self._watching, self._letter(STREAM, path, stream, action, changed, by))


class SharedDoomed(DoomedNames):
    """`NtVolume.doomed` of a share that several workers serve: whoever closes last knows which name goes."""

    def __init__(self, state: SharedState, share: str) -> None:
        self._state = state
        self._share = blake2b(share.encode(errors="surrogateescape"), digest_size=8).digest()

    def _key(self, key: "FileKey") -> bytes:
        return packed_key((key[0], key[1], "")) + self._share

    def get(self, key: "FileKey") -> Doomed | None:
        """One read of what all have noted."""
        with self._state.reading(self._state.doomed) as transaction:
            raw = transaction.get(self._key(key))
        return _doomed(raw) if raw else None

    def note(self, key: "FileKey", doomed: Doomed) -> None:
        """One step of all workers, as the others are."""
        with self._state.changing(self._state.doomed) as step:
            step.transaction.put(self._key(key), marshal.dumps(tuple(doomed)))

    def note_first(self, key: "FileKey", doomed: Doomed) -> None:
        """Leave alone what another worker has noted."""
        with self._state.changing(self._state.doomed) as step:
            step.transaction.put(self._key(key), marshal.dumps(tuple(doomed)), overwrite=False)

    def forget(self, key: "FileKey") -> None:
        """For all workers."""
        with self._state.changing(self._state.doomed) as step:
            step.transaction.delete(self._key(key))

    def move(self, source: str, target: str, is_directory: bool) -> None:
        """Move what is there when the step is made: what others have forgotten by then does not come back."""
        with self._state.reading(self._state.doomed) as transaction:
            if not self._moved(transaction, source, target, is_directory):
                return
        with self._state.changing(self._state.doomed) as step:
            for key, doomed in self._moved(step.transaction, source, target, is_directory):
                step.transaction.put(key, marshal.dumps(tuple(doomed)))

    def _moved(self, transaction: Any, source: str, target: str, is_directory: bool) -> list[tuple[bytes, Doomed]]:
        """The entries that a rename changes, as they are after it."""
        entries = [(key, _doomed(raw)) for key, raw in transaction.cursor() if key.endswith(self._share)]
        moved = [(key, before, before.moved(source, target, is_directory)) for key, before in entries]
        return [(key, after) for key, before, after in moved if after is not before]


def _doomed(raw: bytes) -> Doomed:
    return Doomed(*marshal.loads(raw))  # noqa: S302 - what this server's workers wrote
