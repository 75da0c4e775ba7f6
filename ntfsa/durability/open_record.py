"""Everything of one open that must survive the server, as a value, and its plain, versioned form for a store.

A record is made when an open becomes persistent and made anew whenever something in it changes; after a restart it is
all that is left of the open. `Promise` is what the protocol has to know again, `OpenState` what the file system has.
The form is JSON with the names of the fields and the number of the form in front: a newer release adds fields with
defaults here and reads older records, and a record of a newer form is refused rather than half understood.
"""

import json
from typing import Any, Final, NamedTuple, TypeVar

from lamina.ntfsa.durability.reconnect_rules import NO_GUID
from lamina.ntfsa.durability.rules import Kind
from lamina.ntfsa.record import LockRange

FORM: Final = 1
"""The form that is written. Raise it only for what an older release must not read as if it understood it."""

_T = TypeVar("_T", bound=tuple[Any, ...])


class Promise(NamedTuple):
    """What a client was promised (MS-SMB2 3.3.1.10 Per Open).

    `open_id`: the persistent file id. `seconds`: how long the open waits for its client. `owner`: the SID of its user.
    `lock_sequences`: pairs of bucket and number. `app_version`: high and low, or none. `since`: when the client went,
    in seconds since 1970; None while it was there.
    """

    open_id: int
    share: str
    kind: Kind
    version: int
    seconds: float
    owner: str
    client_guid: bytes
    create_guid: bytes = NO_GUID
    app_instance: bytes = b""
    app_version: tuple[int, int] | None = None
    lock_sequences: tuple[tuple[int, int], ...] = ()
    since: float | None = None


class LeaseState(NamedTuple):
    """The lease of an open: its key, version, rights *_CACHING, epoch, and the lease key of the directory."""

    key: bytes
    version: int
    state: int
    epoch: int
    parent_key: bytes = b""


class OpenState(NamedTuple):
    """What the open holds of the file (MS-FSA 2.1.1.6 Per Open, and its part of 2.1.1.3 Per File).

    `path` and `vfs_path` are those of `NtOpen`; `stream` the name of the named stream, "" for the file itself. `file`:
    device and inode. `cookie`: with what the chain finds the file again (`durable_cookie`). `delete_pending` is the
    file's. `oplock`: the rights *_CACHING of its oplock. `reserved`: bytes.
    """

    path: str
    vfs_path: str
    stream: str
    file: tuple[int, int]
    cookie: bytes
    granted_access: int
    share_access: int
    options: int
    mode: int
    position: int = 0
    reserved: int = 0
    delete_on_close: bool = False
    delete_pending: bool = False
    posix: bool = False
    posix_delete: bool = False
    has_written: bool = False
    unarchived: bool = False
    oplock: int = 0
    lease: LeaseState | None = None
    locks: tuple[LockRange, ...] = ()


class OpenRecord(NamedTuple):
    """One open, with all that must survive."""

    promise: Promise
    state: OpenState


def encode(record: OpenRecord) -> bytes:
    """The plain form of a record."""
    promise, state = record.promise._asdict(), record.state._asdict()
    state["lease"] = None if record.state.lease is None else record.state.lease._asdict()
    return json.dumps([FORM, promise, state], default=_plain, separators=(",", ":")).encode("utf-8", "surrogatepass")


def decode(form: bytes) -> OpenRecord:
    """The record that `encode` made `form` of. Raises ValueError for what is none, or one of a newer form."""
    try:
        number, promise, state = json.loads(form.decode("utf-8", "surrogatepass"))
        if not isinstance(number, int) or not 1 <= number <= FORM:
            raise ValueError(f"a record of form {number}; this release reads forms 1 to {FORM}")
        return OpenRecord(_promise(promise), _state(state))
    except (KeyError, TypeError, AttributeError, UnicodeError) as error:
        raise ValueError(f"not the record of an open: {error!r}") from error


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no plain form")


def _promise(plain: dict[str, Any]) -> Promise:
    version = plain.get("app_version")
    return _made(
        Promise,
        plain
        | {
            "kind": Kind(plain["kind"]),
            "client_guid": bytes.fromhex(plain["client_guid"]),
            "create_guid": bytes.fromhex(plain.get("create_guid", NO_GUID.hex())),
            "app_instance": bytes.fromhex(plain.get("app_instance", "")),
            "app_version": None if version is None else (version[0], version[1]),
            "lock_sequences": tuple((bucket, number) for bucket, number in plain.get("lock_sequences", ())),
        },
    )


def _state(plain: dict[str, Any]) -> OpenState:
    lease, device_and_inode = plain.get("lease"), plain["file"]
    return _made(
        OpenState,
        plain
        | {
            "file": (device_and_inode[0], device_and_inode[1]),
            "cookie": bytes.fromhex(plain["cookie"]),
            "lease": None if lease is None else _lease(lease),
            "locks": tuple(
                LockRange(offset, length, exclusive) for offset, length, exclusive in plain.get("locks", ())
            ),
        },
    )


def _lease(plain: dict[str, Any]) -> LeaseState:
    keys = {name: bytes.fromhex(plain[name]) for name in ("key", "parent_key") if name in plain}
    return _made(LeaseState, plain | keys)


def _made(kind: type[_T], fields: dict[str, Any]) -> _T:
    # Fields that a newer release of the same form has added mean nothing to this one, and nothing is lost by that.
    known = {name: value for name, value in fields.items() if name in kind._fields}  # type: ignore[attr-defined]
    return kind(**known)
