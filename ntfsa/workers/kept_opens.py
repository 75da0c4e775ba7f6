"""What is known of durable opens beside their records, so that they outlive their worker.

The record of a file has what its opens hold of it and stays when a worker is killed; here is what the process knew. The
next process in its place makes the opens anew, under the numbers they had: nobody else notices.
"""

import marshal
import struct
from typing import Final, NamedTuple

from lamina.ntfsa.record import FileKey
from lamina.ntfsa.workers.shared_state import SharedState

_ROW: Final = struct.Struct(">BQ")


class KeptOpen(NamedTuple):
    """A durable open. `address`: that of its grant; `form`: as `open_record.encode` made it, but for what the file's
    record has."""

    open_id: int
    owner: int
    key: FileKey
    address: int
    form: bytes


def keep_open(state: SharedState, kept: KeptOpen) -> None:
    """Know an open of this worker, in the place of what was known of it."""
    with state.changing(state.kept) as step:
        step.transaction.put(_ROW.pack(state.number, kept.open_id), marshal.dumps(tuple(kept)))


def forget_open(state: SharedState, open_id: int) -> None:
    """An open of this worker is closed; nothing happens to one that is not known."""
    with state.changing(state.kept) as step:
        step.transaction.delete(_ROW.pack(state.number, open_id))


def kept_by(state: SharedState, worker: int) -> list[KeptOpen]:
    """The durable opens of a worker."""
    prefix, found = bytes((worker,)), []
    with state.reading(state.kept) as transaction:
        cursor = transaction.cursor()
        there = cursor.set_range(prefix)
        while there and cursor.key()[:1] == prefix:
            open_id, owner, key, address, form = marshal.loads(cursor.value())  # noqa: S302 - what its worker wrote
            found.append(KeptOpen(open_id, owner, tuple(key), address, form))
            there = cursor.next()
    return found
