"""NTLM: our acceptor against pyspnego's and impacket's clients."""

import base64
import contextlib
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from impacket import ntlm as impacket_ntlm
from spnego.exceptions import SpnegoError

from lamina.core.auth.accounts import MemoryAccounts
from lamina.core.auth.authenticator import Authenticator
from lamina.core.auth.ntlm_messages import is_ntlm_v2, read_authenticate, wants_mic
from lamina.ntfsa.status import NtStatus, NtStatusError
from tests.core.auth.helpers import ADDRESS, PASSWORD, UNTHROTTLED, authenticate, ntlm_client, server

SERVER = server()
both = pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])


def status_of(authenticator: Authenticator, *tokens: bytes) -> NtStatus:
    exchange = authenticator.begin(ADDRESS)
    with pytest.raises(NtStatusError) as caught:
        for token in tokens:
            exchange.step(token)
    return caught.value.status


@both
def test_both_sides_have_the_same_key(protocol: str) -> None:
    outcome = authenticate(server(), ntlm_client(protocol=protocol))
    assert outcome.client.complete
    assert outcome.authenticated.session_key == outcome.client.session_key
    assert len(outcome.authenticated.session_key) == 16
    assert outcome.authenticated.user == "alice"
    assert not outcome.authenticated.is_guest
    assert not outcome.authenticated.is_anonymous
    assert outcome.authenticated.expires_at is None


@both
@pytest.mark.parametrize("user", ["ALICE", "DOMAIN\\alice", "alice@example.test"])
def test_the_case_of_the_name_and_the_domain_do_not_matter(protocol: str, user: str) -> None:
    authenticator = server("alice", "alice@example.test")
    outcome = authenticate(authenticator, ntlm_client(user, protocol=protocol))
    assert outcome.authenticated.session_key == outcome.client.session_key


@both
def test_names_and_passwords_may_have_any_letters(protocol: str) -> None:
    accounts = MemoryAccounts()
    accounts.add("Zoë Дмитрий", "пароль €𝄞")
    outcome = authenticate(Authenticator(accounts, UNTHROTTLED), ntlm_client("zoË дмитрий", "пароль €𝄞", protocol))
    assert outcome.authenticated.user == "Zoë Дмитрий"


@both
@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("nobody-known", PASSWORD), ("alice", "")])
def test_a_wrong_password_and_an_unknown_user_fail_alike(protocol: str, user: str, password: str) -> None:
    with pytest.raises(NtStatusError) as caught:
        authenticate(server(), ntlm_client(user, password, protocol))
    assert caught.value.status is NtStatus.LOGON_FAILURE


@pytest.mark.parametrize(("password", "status"), [(PASSWORD, "ACCOUNT_DISABLED"), ("wrong", "LOGON_FAILURE")])
def test_only_who_knows_the_password_learns_that_an_account_is_disabled(password: str, status: str) -> None:
    authenticator = server()
    authenticator.accounts.set_disabled("alice")  # type: ignore[attr-defined]
    with pytest.raises(NtStatusError) as caught:
        authenticate(authenticator, ntlm_client("alice", password))
    assert caught.value.status.name == status


@both
def test_a_token_after_the_end_is_refused(protocol: str) -> None:
    authenticator = server()
    exchange = authenticator.begin(ADDRESS)
    client = ntlm_client(protocol=protocol)
    exchange.step(client.step(exchange.step(client.step() or b"").output) or b"")
    with pytest.raises(NtStatusError):
        exchange.step(b"NTLMSSP\0\1\0\0\0" + bytes(20))


@contextlib.contextmanager
def suppressing_refusal() -> Iterator[None]:
    """Nothing but one of the two statuses may come out."""
    try:
        yield
    except NtStatusError as error:
        if error.status not in (NtStatus.LOGON_FAILURE, NtStatus.INVALID_PARAMETER):
            raise


# A one-bit change of AUTHENTICATE: all of it is covered by the MIC, or must be what it was for the proof to fit.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_flipped_bit_of_the_last_message_is_accepted(data: st.DataObject) -> None:
    def flip(leg: int, token: bytes) -> bytes:
        if leg != 1:
            return token
        bit = data.draw(st.integers(0, len(token) * 8 - 1))
        changed = bytearray(token)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    with pytest.raises(NtStatusError) as caught:
        authenticate(SERVER, ntlm_client(protocol="ntlm"), flip)
    assert caught.value.status in (NtStatus.LOGON_FAILURE, NtStatus.INVALID_PARAMETER)


def test_a_changed_first_message_is_noticed_by_the_mic() -> None:
    def weaken(leg: int, token: bytes) -> bytes:
        if leg:
            return token
        flags = struct.unpack_from("<I", token, 12)[0] & ~0x20000000  # NTLMSSP_NEGOTIATE_128
        return token[:12] + struct.pack("<I", flags) + token[16:]

    with pytest.raises(NtStatusError):
        authenticate(server(), ntlm_client(protocol="ntlm"), weaken)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_garbage_gives_a_status_and_nothing_else(tokens: list[bytes]) -> None:
    exchange = SERVER.begin(ADDRESS)
    for token in tokens:
        with suppressing_refusal():
            assert exchange.step(token).authenticated is None


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(["ntlm", "negotiate"]), st.integers(0, 1))
def test_cut_and_changed_messages_give_a_status_and_nothing_else(
    data: st.DataObject, protocol: str, where: int
) -> None:
    def damage(leg: int, token: bytes) -> bytes:
        if leg != where:
            return token
        start = data.draw(st.integers(0, len(token)))
        end = data.draw(st.integers(start, len(token)))
        return token[:start] + data.draw(st.binary(max_size=8)) + token[end:]

    # The client may stumble over what it did not say, with exceptions of its own.
    with suppressing_refusal(), contextlib.suppress(SpnegoError, ValueError, struct.error):
        authenticate(SERVER, ntlm_client(protocol=protocol), damage)


def ntlm_v2_response(pairs: bytes) -> bytes:
    return bytes(16) + b"\1\1" + bytes(26) + pairs


@pytest.mark.parametrize(
    "response",
    [
        bytes(25),
        bytes(43) + b"x" * 30,
        ntlm_v2_response(b""),
        ntlm_v2_response(b"\xff" * 8),
        ntlm_v2_response(b"\1\0\4\0ab\0\0"),
        ntlm_v2_response(b"\6\0\2\0ab\0\0\0\0"),
    ],
)
def test_a_malformed_ntlm_v2_response_is_an_invalid_parameter(response: bytes) -> None:
    """Before any password is looked at: what a Windows server does, and smbtorture's ntlmssp_bug14932 wants."""
    authenticator = server()
    assert status_of(authenticator, NEGOTIATE, authenticate_message("alice", response)) is NtStatus.INVALID_PARAMETER


NEGOTIATE = b"NTLMSSP\0\1\0\0\0" + struct.pack("<I", 0x60088215) + bytes(16)


def authenticate_message(user: str, nt_response: bytes, lm_response: bytes = b"", flags: int = 0x60088215) -> bytes:
    payload, fields, offset = b"", b"", 64
    for value in (lm_response, nt_response, b"", user.encode("utf-16-le"), b"", b""):
        fields += struct.pack("<HHI", len(value), len(value), offset)
        payload += value
        offset += len(value)
    return b"NTLMSSP\0\3\0\0\0" + fields + struct.pack("<I", flags & ~0x40000000) + payload


@pytest.mark.parametrize(("lm", "nt"), [(bytes(24), bytes(24)), (bytes(24), b""), (b"x" * 24, b"y" * 16), (b"", b"z")])
def test_lm_and_ntlm_v1_responses_are_refused(lm: bytes, nt: bytes) -> None:
    assert status_of(server(), NEGOTIATE, authenticate_message("alice", nt, lm)) is NtStatus.LOGON_FAILURE


def test_a_right_ntlm_v1_response_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_COMPAT_LEVEL", "1")
    with pytest.raises(NtStatusError) as caught:
        authenticate(server(), ntlm_client(protocol="ntlm"))
    assert caught.value.status is NtStatus.LOGON_FAILURE


@pytest.mark.parametrize("length", [0, 8, 11, 15])
def test_a_short_first_message_is_an_invalid_parameter(length: int) -> None:
    assert status_of(server(), NEGOTIATE[:length]) is NtStatus.INVALID_PARAMETER


def test_a_field_beyond_the_message_is_an_invalid_parameter() -> None:
    message = bytearray(authenticate_message("alice", bytes(24)))
    struct.pack_into("<HHI", message, 20, 24, 24, 0xFFFFFFF0)
    assert status_of(server(), NEGOTIATE, bytes(message)) is NtStatus.INVALID_PARAMETER


def test_a_mic_that_is_promised_must_be_there() -> None:
    response = ntlm_v2_response(struct.pack("<HHI", 6, 4, 2) + bytes(4))
    assert wants_mic(response)
    assert is_ntlm_v2(response)
    assert status_of(server(), NEGOTIATE, authenticate_message("alice", response)) is NtStatus.INVALID_PARAMETER


def test_the_challenge_says_who_the_server_is_and_what_time_it_is() -> None:
    authenticator = server(server_name="FILES", domain="CORP", dns_name="files.example.test")
    challenge = authenticator.begin(ADDRESS).step(NEGOTIATE).output
    length, offset = struct.unpack_from("<HxxI", challenge, 40)
    info, pairs = challenge[offset : offset + length], {}
    while info:
        av_id, size = struct.unpack_from("<HH", info)
        pairs[av_id] = info[4 : 4 + size]
        info = info[4 + size :]
    names = {av_id: value.decode("utf-16-le") for av_id, value in pairs.items() if 1 <= av_id <= 4}
    assert names == {1: "FILES", 2: "CORP", 3: "files.example.test", 4: "example.test"}
    assert len(pairs[7]) == 8


def test_every_exchange_has_another_challenge() -> None:
    authenticator = server()
    challenges = {authenticator.begin(ADDRESS).step(NEGOTIATE).output[24:32] for _ in range(50)}
    assert len(challenges) == 50


def test_impacket_logs_on_with_the_same_key() -> None:
    exchange = server().begin(ADDRESS)
    negotiate = impacket_ntlm.getNTLMSSPType1("", "")
    challenge = exchange.step(negotiate.getData()).output
    final, key = impacket_ntlm.getNTLMSSPType3(negotiate, challenge, "alice", PASSWORD, "DOMAIN")
    authenticated = exchange.step(final.getData()).authenticated
    assert authenticated is not None
    assert authenticated.session_key == key


ANONYMOUS_FLAGS = 0x60088215 | 0x800


def test_anonymous_is_refused_unless_it_is_allowed() -> None:
    final = authenticate_message("", b"", b"\0", ANONYMOUS_FLAGS)
    assert status_of(server(), NEGOTIATE, final) is NtStatus.LOGON_FAILURE
    exchange = server(allow_anonymous=True).begin(ADDRESS)
    exchange.step(NEGOTIATE)
    authenticated = exchange.step(final).authenticated
    assert authenticated is not None
    assert authenticated.is_anonymous
    assert not authenticated.is_guest
    assert authenticated.session_key == bytes(16)
    assert authenticated.token.user_sid == "S-1-5-7"
    assert not authenticated.token.has_sid("S-1-5-11")


def test_an_empty_user_with_a_response_is_not_anonymous() -> None:
    final = authenticate_message("", ntlm_v2_response(bytes(4)))
    assert status_of(server(allow_anonymous=True), NEGOTIATE, final) is NtStatus.LOGON_FAILURE


@both
def test_an_unknown_user_is_a_guest_where_guests_are_allowed(protocol: str) -> None:
    exchange = server(allow_guest=True).begin(ADDRESS)
    client = ntlm_client("stranger", "whatever", protocol)
    step = exchange.step(client.step(exchange.step(client.step() or b"").output) or b"")
    assert step.authenticated is not None
    assert step.authenticated.is_guest
    assert step.authenticated.session_key == bytes(16)
    assert step.authenticated.token.user_sid.endswith("-501")
    assert step.authenticated.token.has_sid("S-1-5-32-546")
    assert not step.authenticated.token.has_sid("S-1-5-11")
    assert step.authenticated.token.uid != 0 or os.geteuid() != 0 or step.authenticated.token.uid == 65534


def test_a_known_user_with_a_wrong_password_is_never_a_guest() -> None:
    with pytest.raises(NtStatusError) as caught:
        authenticate(server(allow_guest=True), ntlm_client("alice", "wrong"))
    assert caught.value.status is NtStatus.LOGON_FAILURE


def test_guests_act_as_the_guest_account() -> None:
    authenticator = server("alice", allow_guest=True, guest_account="visitor")
    authenticator.accounts.add("visitor", base64.b64encode(os.urandom(9)).decode(), uid=4242, gid=4343)  # type: ignore[attr-defined]
    exchange = authenticator.begin(ADDRESS)
    client = ntlm_client("stranger", "x", "ntlm")
    step = exchange.step(client.step(exchange.step(client.step() or b"").output) or b"")
    assert step.authenticated is not None
    assert (step.authenticated.token.uid, step.authenticated.token.gid) == (4242, 4343)


def test_logons_from_many_threads_do_not_disturb_each_other() -> None:
    names = [f"user{number}" for number in range(20)]
    authenticator = server(*names)

    def logon(name: str) -> bool:
        outcome = authenticate(authenticator, ntlm_client(name))
        return outcome.authenticated.user == name and outcome.authenticated.session_key == outcome.client.session_key

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(logon, names))


def test_names_are_read_in_the_encoding_the_flags_say() -> None:
    message = bytearray(authenticate_message("", bytes(24), flags=0x60088216))
    struct.pack_into("<HHI", message, 36, 5, 5, len(message))
    assert read_authenticate(bytes(message) + b"alice").user == "alice"
