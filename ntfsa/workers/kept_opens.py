"""What is known of durable and persistent opens beside their records, so that they outlive their worker.

The record of a file has what its opens hold of it and stays when a worker is killed; here is what the process knew. The
next process in its place makes the opens anew, under the numbers they had: nobody else notices. An open that goes to
another worker does so in one step, with its numbers and what is known of it: whoever is killed meanwhile, it is one
worker's, and that one's alone.
"""

import marshal
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lamina.ntfsa.record import FileKey
from lamina.ntfsa.record_form import from_plain, to_plain
from lamina.ntfsa.streams.stream_opens import keys_of_open
from lamina.ntfsa.workers.awaited_names import awaited_row
from lamina.ntfsa.workers.renumbering import Numbers, renumber
from lamina.ntfsa.workers.shared_state import SharedState, Step, packed_key

_ROW: Final = struct.Struct(">BQ")
_INTENT: Final = b"+"
_NOBODYS: Final = b"\0"
_LONGEST_NAME: Final = 400


class KeptOpen(NamedTuple):
    """An open that is kept. `address`: that of its grant, 0 without one; `form`: as `open_record.encode` made it.

    What the file's record has counts, and not what the form says of it. `name`: of a persistent open, under what others
    meet it while it waits (see `awaited_names`); b"" for others.
    """

    open_id: int
    owner: int
    key: FileKey
    address: int
    form: bytes
    name: bytes = b""


class Intent(NamedTuple):
    """A LOCK that is being done: its sequence's bucket and number, and how many locks the open had before it."""

    bucket: int
    number: int
    locks: int


# -- opens ------------------------------------------------------------------------------------------------------------


def keep_open(state: SharedState, kept: KeptOpen) -> None:
    """Know an open of this worker, in the place of what was known of it; what it was about to do is done."""
    row = _ROW.pack(state.number, kept.open_id)
    with state.changing(state.kept) as step:
        step.transaction.put(row, marshal.dumps(tuple(kept)))
        step.transaction.delete(row + _INTENT)


def intend(state: SharedState, open_id: int, intent: Intent) -> None:
    """An open of this worker is about to do something that its file's record will show, and nothing else."""
    with state.changing(state.kept) as step:
        step.transaction.put(_ROW.pack(state.number, open_id) + _INTENT, marshal.dumps(tuple(intent)))


def intent_of(state: SharedState, open_id: int) -> Intent | None:
    """What an open of this worker was about to do when that was killed."""
    with state.reading(state.kept) as transaction:
        raw = transaction.get(_ROW.pack(state.number, open_id) + _INTENT)
    return None if raw is None else Intent(*marshal.loads(raw))  # noqa: S302 - what its worker wrote


def forget_open(state: SharedState, open_id: int) -> None:
    """An open of this worker is closed; nothing happens to one that is not known."""
    row = _ROW.pack(state.number, open_id)
    with state.changing(state.kept) as step:
        raw = step.transaction.pop(row)
        step.transaction.delete(row + _INTENT)
        if raw is not None:
            _await_no_more(state, step, _kept(raw))


def _await_no_more(state: SharedState, step: Step, kept: KeptOpen) -> None:
    if kept.name:
        step.transaction.delete(awaited_row(kept.name, kept.open_id), db=state.awaited)


def kept_by(state: SharedState, worker: int) -> list[KeptOpen]:
    """The opens of a worker that are kept."""
    return list(_rows(state, bytes((worker,))))


def kept_ids(state: SharedState) -> set[int]:
    """The ids of all opens that are kept, whose ever they are."""
    return {kept.open_id for kept in _rows(state, b"")}


def _rows(state: SharedState, prefix: bytes) -> Iterator[KeptOpen]:
    with state.reading(state.kept) as transaction:
        cursor = transaction.cursor()
        there = cursor.set_range(prefix) if prefix else cursor.first()
        while there and cursor.key().startswith(prefix):
            if len(cursor.key()) == _ROW.size and not cursor.key().startswith(_NOBODYS):
                yield _kept(cursor.value())
            there = cursor.next()


def _kept(raw: bytes) -> KeptOpen:
    open_id, owner, key, *more = marshal.loads(raw)  # noqa: S302 - what this server's workers wrote
    return KeptOpen(open_id, owner, tuple(key), *more)


# -- from one worker to another ---------------------------------------------------------------------------------------


def adopt(state: SharedState, kept: KeptOpen, giver: int, taker: int, new: Numbers) -> KeptOpen | None:
    """Make an open of one worker another's, with new numbers; None where it is not the giver's any more."""
    with state.changing(state.records) as step:
        transaction = step.transaction
        renumbered = _renumbered(state, transaction, kept, giver, new)
        if renumbered is None:
            return None
        for packed, raw in renumbered:
            transaction.put(packed, raw)
        after = kept._replace(owner=new.owner, address=new.address if kept.address else 0)
        _move_row(state, transaction, kept, giver, (taker, after))
        if after.name:
            transaction.put(awaited_row(after.name, after.open_id), b"", db=state.awaited)
    return after


def _renumbered(
    state: SharedState, transaction: Any, kept: KeptOpen, giver: int, new: Numbers
) -> list[tuple[bytes, bytes]] | None:
    if transaction.get(_ROW.pack(giver, kept.open_id), db=state.kept) is None:
        return None
    changed = []
    for key in keys_of_open(kept.key):
        packed = packed_key(key)
        raw = transaction.get(packed)
        outcome = renumber(from_plain(marshal.loads(raw)), kept.owner, new) if raw is not None else None  # noqa: S302
        if outcome is None or not outcome.result:
            return None
        changed.append((packed, marshal.dumps(to_plain(outcome.record))))
    return changed


def _move_row(state: SharedState, transaction: Any, kept: KeptOpen, giver: int, taken: tuple[int, KeptOpen]) -> None:
    taker, after = taken
    before, row = _ROW.pack(giver, kept.open_id), _ROW.pack(taker, kept.open_id)
    intent = transaction.pop(before + _INTENT, db=state.kept)
    transaction.delete(before, db=state.kept)
    transaction.put(row, marshal.dumps(tuple(after)), db=state.kept)
    if intent is not None:
        transaction.put(row + _INTENT, intent, db=state.kept)


# -- the end of a worker ----------------------------------------------------------------------------------------------


def lose_clients(state: SharedState, worker: int) -> list[KeptOpen]:
    """A worker has ended: what it had open waits for its clients from now on. What is kept of it."""
    found = kept_by(state, worker)
    named = [kept for kept in found if kept.name]
    if named:
        with state.changing(state.awaited) as step:
            for kept in named:
                step.transaction.put(awaited_row(kept.name, kept.open_id), b"")
    return found


# -- the start of the server ------------------------------------------------------------------------------------------


def note_recovered(state: SharedState, share: str) -> None:
    """All that was kept of a share from before the server's start is back."""
    with state.changing(state.kept) as step:
        step.transaction.put(_NOBODYS + share.encode()[:_LONGEST_NAME], b"")


def is_recovered(state: SharedState, share: str) -> bool:
    """Whether a worker has done that."""
    with state.reading(state.kept) as transaction:
        return transaction.get(_NOBODYS + share.encode()[:_LONGEST_NAME]) is not None
