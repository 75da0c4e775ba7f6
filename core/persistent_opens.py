"""Persistent opens: their records follow what happens to them, so that a server that starts again goes on with them.

A record is kept when an open becomes persistent, and again before the answer to whatever changes what is in it: locks,
caching rights, names, dispositions (MS-SMB2 3.3.1.10 Open.IsPersistent). What is kept and how is `ntfsa.durability`'s;
here is when. Functions only: what must be remembered stands in the open's `DurableState`.
"""

import logging
from typing import TYPE_CHECKING, Final

from lamina.ntfsa.durability import keeping
from lamina.ntfsa.durability.capture import capture
from lamina.ntfsa.durability.open_record import OpenRecord, Promise, encode
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.status import NtStatusError
from lamina.vfs_modules.engine import RequestCancelled

if TYPE_CHECKING:
    from lamina.core.durable_state import DurableState
    from lamina.core.session import SmbOpen
    from lamina.ntfsa.open_state import NtOpen

log = logging.getLogger(__name__)

_PERSISTENT: Final = Kind.PERSISTENT


def is_persistent(open_: "SmbOpen") -> bool:
    """Whether an open was promised to outlive the server."""
    return open_.durable is not None and open_.durable.kind is _PERSISTENT


def promote(open_: "SmbOpen", seconds: float) -> bool:
    """Make an open persistent; False where the chain cannot keep it.

    Its record is on stable storage when this returns.
    """
    state, nt = open_.durable, open_.nt
    assert state is not None
    assert nt is not None
    try:
        state.cookie = keeping.prepare(open_.tree.context, nt)
        state.kind, state.seconds = _PERSISTENT, seconds
        save(open_)
    except NtStatusError as error:
        log.warning("share %s: %r cannot be made persistent: %s", nt.volume.name, nt.path, error)
        return False
    return True


def save(open_: "SmbOpen") -> None:
    """Return when the record of an open says what is so now; nothing happens to one that is not persistent.

    Of one of several workers the next in its place knows it, too, whatever its kind. Raises NtStatusError where it
    cannot be kept.
    """
    state, nt = open_.durable, open_.nt
    if state is None or state.kind is None or nt is None or nt.closed:
        return
    if state.kind is not _PERSISTENT and state.kept is None:
        return
    form = encode(record_of(open_, nt))
    if form == state.saved and not state.saving:
        return
    if state.kept is not None:
        # Before the store has it: what is there and not here is nobody's.
        state.kept.note(open_, form)
    if state.kind is _PERSISTENT:
        _store(open_, state, nt, form)
    else:
        state.saved = form


def _store(open_: "SmbOpen", state: "DurableState", nt: "NtOpen", form: bytes) -> None:
    # What is on its way to the store is not there yet, and may be older than this.
    state.saving += 1
    state.saved = b""
    try:
        keeping.keep(nt.volume, open_.file_id, form)
    finally:
        state.saving -= 1
    if not state.saving:
        state.saved = form


def record_of(open_: "SmbOpen", nt: "NtOpen") -> OpenRecord:
    """All that must survive of an open that is known beyond its session."""
    assert open_.durable is not None
    return OpenRecord(_promise(open_), capture(nt, open_.durable.cookie))


def save_soon(open_: "SmbOpen") -> None:
    """`save` where nobody waits for it, as a request of its own; a failure has been logged."""
    try:
        save(open_)
    except (NtStatusError, RequestCancelled) as error:
        log.debug("the record of %r is not up to date: %s", open_.nt, error)


def forget_record(open_: "SmbOpen") -> None:
    """An open is closed: nothing is kept of it any more."""
    if is_persistent(open_) and open_.nt is not None:
        keeping.forget(open_.nt.volume, open_.file_id)
        if open_.durable is not None and open_.durable.kept is not None:
            open_.durable.kept.forget(open_)


def _promise(open_: "SmbOpen") -> Promise:
    state = open_.durable
    assert state is not None
    assert state.kind is not None
    version = state.app_version
    return Promise(
        open_.file_id,
        open_.tree.share.name,
        state.kind,
        state.version,
        state.seconds,
        state.owner,
        state.client_guid,
        state.create_guid,
        state.app_instance,
        None if version is None else (version.high, version.low),
        tuple(sorted(open_.lock_sequences.items())),
    )
