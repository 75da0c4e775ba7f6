"""Checks of handles whose clients may come back, and of records that find the files again after a restart.

A cookie is asked about wherever a chain makes one: a backend may, without claiming persistent handles, for the modules
above it that keep the records. What a cookie must never do is to lead to another file than its own.
"""

import errno
from functools import partial

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations import Capability
from lamina.vfs_modules.testing.hand import READ, READ_WRITE, Hand, fails_with, hand_of, may_fail_with
from lamina.vfs_modules.testing.trial import NotClaimed, Trial, trial

_RECORDS = {0: b"\0", 7: b"seven", (1 << 64) - 1: bytes(range(256)) * 40}


@trial()
def a_handle_goes_on_when_its_client_is_back(subject: Trial) -> None:
    """It reads what was written meanwhile, and writes; it may be lost again, and closed without a return.

    Most handles would; but whether they are to be kept is claimed by who knows, and nobody has to.
    """
    token = subject.token
    with subject.chain() as chain, hand_of(chain, token) as hand:
        if Capability.DURABLE_HANDLES not in chain.capabilities:
            raise NotClaimed
        handle = hand.make("file", b"before")
        chain.durable_disconnect(token, handle)
        chain.pwrite(token, hand.open("file", READ_WRITE), memoryview(b"during"), 0)
        hand.rename("file", "moved")
        chain.durable_reconnect(token, handle)
        assert hand.read(handle, 9) == b"during"
        chain.pwrite(token, handle, memoryview(b"after!"), 0)
        assert hand.read(hand.open("moved", READ), 9) == b"after!"
        chain.durable_disconnect(token, handle)


@trial()
def a_cookie_finds_its_file_again(subject: Trial) -> None:
    """When all has been closed and opened again; the file itself where it was moved, or ESTALE."""
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        hand.mkdir("directory")
        cookie = _cookie(hand, hand.make("directory/file", b"data"))
        moved = _cookie(hand, hand.make("moving", b"moved"))
        hand.rename("moving", "directory/elsewhere")
        hand.make("moving", b"another")
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        handle = hand.keep(chain.durable_open(subject.token, hand.root, cookie, READ_WRITE))
        assert hand.read(handle, 9) == b"data"
        chain.pwrite(subject.token, handle, memoryview(b"more"), 0)
        assert hand.read(hand.open("directory/file", READ), 9) == b"more"
        with may_fail_with(errno.ESTALE):
            assert hand.read(hand.keep(chain.durable_open(subject.token, hand.root, moved, READ)), 9) == b"moved"


@trial()
def a_cookie_finds_no_other_file(subject: Trial) -> None:
    """ESTALE where the file is gone, also where another has its name now; and no file by a cookie that is none."""
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        gone, replaced = _cookie(hand, hand.make("gone")), _cookie(hand, hand.make("replaced"))
    with subject.chain() as chain, hand_of(chain, subject.token) as hand:
        for name in ("gone", "replaced"):
            chain.unlink(subject.token, hand.root, name)
        hand.make("replaced", b"another")
        for cookie in (gone, replaced):
            with fails_with(errno.ESTALE):
                hand.keep(chain.durable_open(subject.token, hand.root, cookie, READ))
        torn = [gone[:length] for length in range(0, len(gone), 3)]
        for cookie in (*torn, b"nobody's cookie, however long it may be"):
            # Whoever it is taken for refuses it: a module as none, a backend that has no cookies as all.
            with fails_with(errno.EINVAL, errno.ESTALE, errno.ENOTSUP):
                hand.keep(chain.durable_open(subject.token, hand.root, cookie, READ))


def _cookie(hand: Hand, handle: VfsHandle) -> bytes:
    hand.chain.durable_upgrade(hand.token, handle)
    try:
        return hand.chain.durable_cookie(hand.token, handle)
    except OSError as error:
        if error.errno != errno.ENOTSUP or Capability.PERSISTENT_HANDLES in hand.chain.capabilities:
            raise
    raise NotClaimed


@trial(Capability.PERSISTENT_HANDLES)
def records_of_opens_are_kept(subject: Trial) -> None:
    """Byte for byte, the last of each open, when all was closed; what was forgotten is, also what was not there."""
    with subject.chain() as chain:
        assert not list(chain.load_opens(subject.token))
        for open_id, record in _RECORDS.items():
            chain.save_open(subject.token, open_id, b"first")
            chain.save_open(subject.token, open_id, record)
        chain.save_open(subject.token, 8, b"forgotten")
        for open_id in (8, 9):
            chain.forget_open(subject.token, open_id)
    with subject.chain() as chain:
        assert dict(chain.load_opens(subject.token)) == _RECORDS


@trial(Capability.PERSISTENT_HANDLES)
def records_may_be_kept_all_at_once(subject: Trial) -> None:
    """Each as it was given, whatever goes to the storage together."""
    wanted = {number: bytes([number]) * (1 + number * 40) for number in range(64)}
    with subject.chain() as chain:
        failures = subject.at_once(*(partial(chain.save_open, subject.token, *one) for one in wanted.items()))
        assert failures == [None] * len(wanted), failures
    with subject.chain() as chain:
        assert dict(chain.load_opens(subject.token)) == wanted


__all__ = [
    "a_cookie_finds_its_file_again",
    "a_cookie_finds_no_other_file",
    "a_handle_goes_on_when_its_client_is_back",
    "records_may_be_kept_all_at_once",
    "records_of_opens_are_kept",
]
