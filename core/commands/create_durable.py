"""The create contexts of opens that outlive their connection (MS-SMB2 3.3.5.9.6, .7, .10, .12, .13), and replay.

An open that is asked back, or whose answer got lost, is answered here; one that is to be durable is marked so after it
was made. The rules are those of `lamina.ntfsa.durability`, the table of such opens is `durable_opens`.
"""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from lamina.core.durable_opens import DurableOpens
from lamina.core.durable_state import DurableState, kept_as
from lamina.core.persistent_opens import save
from lamina.core.request import Request
from lamina.core.wire.constants import DIALECT_300, DIALECT_311, FLAGS_REPLAY_OPERATION
from lamina.core.wire.create_contexts import (
    APP_INSTANCE_ID,
    APP_INSTANCE_VERSION,
    DURABLE_HANDLE_RECONNECT,
    DURABLE_HANDLE_RECONNECT_V2,
    DURABLE_HANDLE_REQUEST,
    DURABLE_HANDLE_REQUEST_V2,
    REQUEST_LEASE,
    decode_lease,
)
from lamina.core.wire.durable_contexts import (
    DHANDLE_FLAG_PERSISTENT,
    AppInstanceVersion,
    DurableReconnect,
    DurableRequestV2,
    check_durable_request,
    decode_app_instance_id,
    decode_app_instance_version,
    decode_durable_reconnect,
    decode_durable_reconnect_v2,
    decode_durable_request_v2,
    encode_durable_response,
    encode_durable_response_v2,
)
from lamina.ntfsa.constants import FILE_ALL_ACCESS
from lamina.ntfsa.durability.keeping import keeps_opens
from lamina.ntfsa.durability.lasting import regain_client
from lamina.ntfsa.durability.reconnect_rules import Claim, refusal
from lamina.ntfsa.durability.rules import DEFAULT_V1_SECONDS, MAX_PERSISTENT, Kind, durable_seconds
from lamina.ntfsa.grants.caching import HANDLE_CACHING, OPLOCK_LEVEL_BATCH, OPLOCK_LEVEL_LEASE, STATE_OF_LEVEL
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.opening.create import CreateResult
from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.engine import RequestCancelled

if TYPE_CHECKING:
    from lamina.core.session import SmbOpen, SmbTree
    from lamina.core.wire.create import CreateRequest
    from lamina.ntfsa.open_state import NtOpen

Contexts = Mapping[bytes, memoryview | bytes]

_ALL_VERSIONS: Final = frozenset({DURABLE_HANDLE_REQUEST, DURABLE_HANDLE_RECONNECT})
_SMB_3: Final = frozenset({DURABLE_HANDLE_REQUEST_V2, DURABLE_HANDLE_RECONNECT_V2, APP_INSTANCE_ID})
TAGS: Final = _ALL_VERSIONS | _SMB_3
"""The contexts of this module."""
_BESIDE_REQUEST_V2: Final = TAGS - {DURABLE_HANDLE_REQUEST_V2}
_DURABLE: Final = Kind.DURABLE
_PERSISTENT: Final = Kind.PERSISTENT
_EXCLUDED: Final = {
    DURABLE_HANDLE_REQUEST: frozenset({DURABLE_HANDLE_REQUEST_V2, DURABLE_HANDLE_RECONNECT_V2}),
    DURABLE_HANDLE_RECONNECT: frozenset({DURABLE_HANDLE_REQUEST_V2, DURABLE_HANDLE_RECONNECT_V2}),
    DURABLE_HANDLE_REQUEST_V2: _ALL_VERSIONS | {DURABLE_HANDLE_RECONNECT_V2},
    DURABLE_HANDLE_RECONNECT_V2: _ALL_VERSIONS | {DURABLE_HANDLE_REQUEST_V2},
}
"""Which contexts no request may have together."""


class Lasting:
    """What a CREATE asks for beyond its connection. `version` 0: no durability, but perhaps to be an instance's.

    `asked`, `guid`: of a new open of version 2, and under which client's guid and create guid it is known.
    """

    __slots__ = ("app_instance", "app_version", "asked", "guid", "reconnect", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.asked: DurableRequestV2 | None = None
        self.guid: tuple[bytes, bytes] | None = None
        self.reconnect: DurableReconnect | None = None
        self.app_instance = b""
        self.app_version: AppInstanceVersion | None = None


def read(dialect: int, client_guid: bytes, contexts: Contexts) -> Lasting | None:
    """What is asked for; None where the dialect does not have it.

    Raises INVALID_PARAMETER for contexts that exclude each other, WireError for one that cannot be read.
    """
    if dialect >= DIALECT_300 and DURABLE_HANDLE_REQUEST_V2 in contexts and _BESIDE_REQUEST_V2.isdisjoint(contexts):
        # What nearly all clients ask for, with nearly every file.
        usual = Lasting(2)
        usual.asked = asked = decode_durable_request_v2(contexts[DURABLE_HANDLE_REQUEST_V2])
        usual.guid = client_guid, asked.create_guid
        return usual
    present = TAGS.intersection(contexts)
    if dialect < DIALECT_300:
        present -= _SMB_3
    if len(present) > 1 and any(not present.isdisjoint(_EXCLUDED[tag]) for tag in present if tag in _EXCLUDED):
        raise NtStatusError(NtStatus.INVALID_PARAMETER, "two kinds of durable handles are asked for at once")
    lasting = _read_durable(present, contexts)
    if lasting.asked is not None:
        lasting.guid = client_guid, lasting.asked.create_guid
    if APP_INSTANCE_ID in present and lasting.reconnect is None:
        lasting.app_instance = decode_app_instance_id(contexts[APP_INSTANCE_ID])
        if dialect >= DIALECT_311 and APP_INSTANCE_VERSION in contexts:
            lasting.app_version = decode_app_instance_version(contexts[APP_INSTANCE_VERSION])
    return lasting if present else None


def _read_durable(present: frozenset[bytes], contexts: Contexts) -> Lasting:
    if DURABLE_HANDLE_REQUEST_V2 in present:
        lasting = Lasting(2)
        lasting.asked = decode_durable_request_v2(contexts[DURABLE_HANDLE_REQUEST_V2])
    elif DURABLE_HANDLE_RECONNECT_V2 in present:
        lasting = Lasting(2)
        lasting.reconnect = decode_durable_reconnect_v2(contexts[DURABLE_HANDLE_RECONNECT_V2])
    elif DURABLE_HANDLE_RECONNECT in present:
        lasting = Lasting(1)
        lasting.reconnect = decode_durable_reconnect(contexts[DURABLE_HANDLE_RECONNECT])
    elif DURABLE_HANDLE_REQUEST in present:
        check_durable_request(contexts[DURABLE_HANDLE_REQUEST])
        lasting = Lasting(1)
    else:
        lasting = Lasting(0)
    return lasting


# -- an open that is there already ------------------------------------------------------------------------------------


def existing(request: Request, tree: "SmbTree", asked: "CreateRequest", lasting: Lasting) -> "SmbOpen | None":
    """The open that is asked back, or that is known by the guid of the request; None where one is to be made.

    Raises NtStatusError where what is there is not given to this client, or is none of this request's.
    """
    if lasting.reconnect is not None:
        return _take_back(request, tree, asked, lasting, lasting.reconnect)
    return _replayed(request, tree, asked, lasting)


def _take_back(
    request: Request, tree: "SmbTree", asked: "CreateRequest", lasting: Lasting, wanted: DurableReconnect
) -> "SmbOpen":
    """Give a client the open back that it has lost (3.3.5.9.7, 3.3.5.9.12)."""
    durables = request.connection.server.durables
    open_ = durables.find(wanted.persistent)
    if open_ is None and wanted.flags & DHANDLE_FLAG_PERSISTENT:
        # Its CREATE was never answered, so that the client knows it by its own guid alone.
        with contextlib.suppress(KeyError):
            open_ = durables.by_guid((tree.session.client_guid, wanted.create_guid))
    claim = _claim(tree, asked, lasting.version, wanted)
    elsewhere = request.connection.server.elsewhere
    if open_ is None and elsewhere is not None and tree.share.volume is not None:
        open_ = elsewhere.handover.take(tree.share, wanted.persistent, claim)
    if open_ is None:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "no open that waits for its client")
    return _hand_over(request, tree, open_, claim)


def _hand_over(request: Request, tree: "SmbTree", open_: "SmbOpen", claim: Claim) -> "SmbOpen":
    """Make a waiting open one of this tree, if it is the client's who asks."""
    kept = kept_as(open_)
    if kept is None or open_.tree.share.name != tree.share.name:
        raise NtStatusError(NtStatus.OBJECT_NAME_NOT_FOUND, "no open of this share that waits for its client")
    refused = refusal(kept, claim)
    if refused is not None:
        raise NtStatusError(refused, "an open that waits for another client, or otherwise")
    assert open_.nt is not None
    if open_.nt.granted_access & FILE_ALL_ACCESS & ~tree.maximal_access:
        raise NtStatusError(NtStatus.ACCESS_DENIED, "the share no longer gives the rights that were granted")
    if open_.busy:
        # What the lost connection had begun (a system call on a thread) must not come after what is asked from now on.
        open_.wait_until_idle(0)
        return _hand_over(request, tree, open_, claim)
    request.connection.server.durables.take_back(open_, tree)
    open_.sequence.begin_anew(request.header.channel_sequence)
    try:
        regain_client(tree.context, open_.nt)
        _save_if_possible(open_)
    except BaseException as error:
        # Nobody has been told of it. It waits on for who was cut off again, if it does not already.
        if tree.session.opens.get(open_.file_id) is open_ and not _waits_on(request, open_, error):
            request.connection.server.close_for_certain(open_)
        raise
    return open_


def _waits_on(request: Request, open_: "SmbOpen", error: BaseException) -> bool:
    server = request.connection.server
    return isinstance(error, RequestCancelled) and server.durables.keep(
        open_, server.settings.limits.opens_without_client
    )


def _save_if_possible(open_: "SmbOpen") -> None:
    """What is kept already is still true, but for the client's guid: a full disk takes no open from its client."""
    with contextlib.suppress(NtStatusError):
        save(open_)


def _claim(tree: "SmbTree", asked: "CreateRequest", version: int, wanted: DurableReconnect) -> Claim:
    session = tree.session
    claim = Claim(
        version,
        session.token.user_sid,
        session.client_guid,
        asked.name,
        wanted.create_guid,
        bool(wanted.flags & DHANDLE_FLAG_PERSISTENT),
    )
    if REQUEST_LEASE in asked.contexts:
        lease = decode_lease(asked.contexts[REQUEST_LEASE])
        claim = claim._replace(lease=lease.key, lease_version=lease.version)
    return claim


def _replayed(request: Request, tree: "SmbTree", asked: "CreateRequest", lasting: Lasting) -> "SmbOpen | None":
    """The open that the client has made before with this create guid (3.3.5.9.10); None where one is to be made."""
    wanted, session = lasting.asked, tree.session
    assert wanted is not None
    assert lasting.guid is not None
    open_ = request.connection.server.durables.by_guid(lasting.guid)
    replay = bool(request.header.flags & FLAGS_REPLAY_OPERATION)
    if open_ is None:
        status = NtStatus.FILE_NOT_AVAILABLE if replay else NtStatus.DUPLICATE_OBJECTID
        raise NtStatusError(status, "an open of this create guid is being made")
    assert open_.durable is not None
    if not open_.durable.replayable:
        return None
    if replay and open_.durable.kind is _PERSISTENT and open_.durable.since is not None:
        # The connection went before the answer came: who asks again gets it back (smb2.replay.replay5).
        lost = DurableReconnect(open_.file_id, open_.file_id, wanted.create_guid, wanted.flags)
        return _hand_over(request, tree, open_, _claim(tree, asked, lasting.version, lost))
    if not replay or open_.tree.session is not session:
        raise NtStatusError(NtStatus.DUPLICATE_OBJECTID, "the create guid is that of another open")
    if not _is_same_request(open_, tree, asked, wanted):
        raise NtStatusError(NtStatus.ACCESS_DENIED, "a replay that asks for something else")
    return open_


def _is_same_request(open_: "SmbOpen", tree: "SmbTree", asked: "CreateRequest", wanted: DurableRequestV2) -> bool:
    state, nt = open_.durable, open_.nt
    assert state is not None
    assert nt is not None
    lease = b""
    if REQUEST_LEASE in asked.contexts:
        lease = decode_lease(asked.contexts[REQUEST_LEASE]).key
    persistent = bool(wanted.flags & DHANDLE_FLAG_PERSISTENT)
    return (
        lease == (nt.lease.key if nt.lease is not None else b"")
        and state.owner == tree.session.token.user_sid
        and (state.kind is Kind.PERSISTENT) is persistent
        and open_.tree is tree
    )


# -- an open that is made ---------------------------------------------------------------------------------------------


def close_older_instances(request: Request, tree: "SmbTree", asked: "CreateRequest", lasting: Lasting) -> None:
    """An application that was moved to another client takes its files along (3.3.5.9.13).

    Raises FILE_FORCED_CLOSED where the instance that has the file open is the newer one.
    """
    server, session = request.connection.server, tree.session
    path = fold(asked.name)
    for open_ in server.durables.of_instance(lasting.app_instance):
        state, nt = open_.durable, open_.nt
        assert state is not None
        if nt is None or open_.tree.share.name != tree.share.name or state.client_guid == session.client_guid:
            continue
        if fold(nt.path) != path:
            continue
        versions = lasting.app_version, state.app_version
        if versions[0] is not None and versions[1] is not None and versions[1] >= versions[0]:
            raise NtStatusError(NtStatus.FILE_FORCED_CLOSED, "a newer instance has the file open")
        if not server.durables.end_now(open_):
            server.close_for_certain(open_)
    if server.elsewhere is not None:
        where = tree.share.name, path
        server.elsewhere.close_instance(lasting.app_instance, lasting.app_version, *where, session.client_guid)


def mark(
    durables: DurableOpens, tree: "SmbTree", open_: "SmbOpen", lasting: Lasting, result: CreateResult
) -> tuple[bytes, bytes] | None:
    """Promise a new open what it is asked to be; the answer to its context, None for none.

    A directory is never durable (3.3.5.9.6, 3.3.5.9.10), nor what rests on no right to be kept open.
    """
    wanted, nt = lasting.asked, open_.nt
    session = tree.session
    state = DurableState(lasting.version, session.token.user_sid, session.client_guid)
    if wanted is not None:
        state.create_guid = wanted.create_guid
    state.action = result.action
    state.app_instance, state.app_version = lasting.app_instance, lasting.app_version
    assert nt is not None
    lease = result.lease
    carries = lease.state & HANDLE_CACHING if lease is not None else result.oplock_level == OPLOCK_LEVEL_BATCH
    if carries and lasting.version and nt.volume.durable_handles and not nt.is_directory:
        state.kind = _DURABLE
        state.seconds = DEFAULT_V1_SECONDS if wanted is None else durable_seconds(wanted.timeout)
    if state.kind is not None or wanted is not None or lasting.app_instance:
        durables.enter(open_, state)
    if wanted is not None and wanted.flags & DHANDLE_FLAG_PERSISTENT and _may_persist(durables, nt):
        durables.promote(open_, durable_seconds(wanted.timeout))
    return answer(state)


def _may_persist(durables: DurableOpens, nt: "NtOpen") -> bool:
    """Whether a file of this share can be opened for good (3.3.5.9.10); a directory never is."""
    if nt.is_directory or not nt.volume.durable_handles or durables.persistent >= MAX_PERSISTENT:
        return False
    return keeps_opens(nt.volume)


def replayed_level(held: int, asked: int) -> int:
    """The oplock level that a replay is answered with: what it asks for now, of what the open has.

    Windows says so (smb2.replay.replay-dhv2-oplock2); the open keeps what it has.
    """
    if held == OPLOCK_LEVEL_LEASE or STATE_OF_LEVEL.get(asked, 0) & ~STATE_OF_LEVEL[held]:
        return held
    return asked


def answer(state: DurableState, level: int = OPLOCK_LEVEL_BATCH) -> tuple[bytes, bytes] | None:
    """The response's context, tag and data; None where nothing was promised, or the oplock `level` carries nothing."""
    carried = state.kind is _PERSISTENT or level in (OPLOCK_LEVEL_BATCH, OPLOCK_LEVEL_LEASE)
    if state.kind is None or not carried:
        return None
    if state.version == 1:
        return DURABLE_HANDLE_REQUEST, encode_durable_response()
    flags = DHANDLE_FLAG_PERSISTENT if state.kind is _PERSISTENT else 0
    return DURABLE_HANDLE_REQUEST_V2, encode_durable_response_v2((round(state.seconds * 1000), flags))
