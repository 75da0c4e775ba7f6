"""SPNEGO: the choice of the mechanism, its protection, and tokens as odd clients send them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spnego._spnego import NegState, NegTokenInit, NegTokenResp, unpack_token

from lamina.core.auth import der, spnego_tokens
from lamina.core.auth.spnego_acceptor import SpnegoAcceptor
from lamina.core.auth.spnego_tokens import KERBEROS_OID, NTLM_OID
from lamina.ntfsa.status import NtStatus, NtStatusError
from tests.core.auth.helpers import ADDRESS, authenticate, ntlm_client, server

NTLM = "1.3.6.1.4.1.311.2.2.10"
KERBEROS = "1.2.840.113554.1.2.2"
MS_KERBEROS = "1.2.840.48018.1.2.2"
NEGOEX = "1.3.6.1.4.1.311.2.2.30"


def first_token(protocol: str = "ntlm") -> bytes:
    return ntlm_client(protocol=protocol).step() or b""


def reply_to(*mechanisms: str, token: bytes | None) -> NegTokenResp:
    output = server().begin(ADDRESS).step(NegTokenInit(list(mechanisms), mech_token=token).pack()).output
    response = unpack_token(output)
    assert isinstance(response, NegTokenResp)
    return response


def test_the_hint_offers_ntlm_as_other_servers_do() -> None:
    hint = unpack_token(server().hint())
    assert isinstance(hint, NegTokenInit)
    assert hint.mech_types == [NTLM]
    assert hint.hint_name == b"not_defined_in_RFC4178@please_ignore"


def test_a_token_for_the_first_mechanism_is_answered_at_once() -> None:
    response = reply_to(NTLM, token=first_token())
    assert response.neg_state == NegState.accept_incomplete
    assert response.supported_mech == NTLM
    assert response.response_token is not None
    assert response.response_token.startswith(b"NTLMSSP\0\2")


@pytest.mark.parametrize("better", [KERBEROS, MS_KERBEROS, NEGOEX])
def test_a_token_for_a_mechanism_that_we_lack_is_left_alone(better: str) -> None:
    response = reply_to(better, NTLM, token=b"a token of something else")
    assert response.neg_state == NegState.request_mic
    assert response.supported_mech == NTLM
    assert response.response_token is None


def test_a_client_without_a_token_is_told_the_mechanism() -> None:
    response = reply_to(NTLM, token=None)
    assert response.neg_state == NegState.accept_incomplete
    assert response.supported_mech == NTLM
    assert response.response_token is None


def test_the_exchange_goes_on_after_another_mechanism_was_chosen() -> None:
    exchange = server().begin(ADDRESS)
    exchange.step(NegTokenInit([KERBEROS, NTLM], mech_token=b"krb5").pack())
    client = ntlm_client(protocol="ntlm")
    challenge = unpack_token(exchange.step(NegTokenResp(response_token=client.step()).pack()).output)
    step = exchange.step(NegTokenResp(response_token=client.step(challenge.response_token)).pack())
    assert step.authenticated is not None
    assert step.authenticated.session_key == client.session_key
    assert unpack_token(step.output).neg_state == NegState.accept_complete


def test_no_common_mechanism_is_a_logon_failure() -> None:
    with pytest.raises(NtStatusError) as caught:
        reply_to(NEGOEX, KERBEROS, token=b"x")
    assert caught.value.status is NtStatus.LOGON_FAILURE


def test_the_list_of_mechanisms_is_signed_both_ways() -> None:
    outcome = authenticate(server(), ntlm_client())
    final = unpack_token(outcome.outputs[-1])
    assert final.neg_state == NegState.accept_complete
    # The client checked it: pyspnego raises when the server's MIC is wrong and stays incomplete when it is missing.
    assert len(final.mech_list_mic) == 16
    assert outcome.client.complete


def test_a_wrong_mech_list_mic_is_refused() -> None:
    def change(leg: int, token: bytes) -> bytes:
        response = unpack_token(token)
        if leg != 1:
            return token
        mic = bytearray(response.mech_list_mic)
        mic[5] ^= 1
        return NegTokenResp(response_token=response.response_token, mech_list_mic=bytes(mic)).pack()

    with pytest.raises(NtStatusError) as caught:
        authenticate(server(), ntlm_client(), change)
    assert caught.value.status is NtStatus.LOGON_FAILURE


def test_a_changed_list_of_mechanisms_is_noticed() -> None:
    """Somebody on the way takes a mechanism out of the list, or puts one in."""

    def change(leg: int, token: bytes) -> bytes:
        if leg:
            return token
        return NegTokenInit([NTLM, NEGOEX], mech_token=unpack_token(token).mech_token).pack()

    with pytest.raises(NtStatusError):
        authenticate(server(), ntlm_client(), change)


class _Proved:
    """A mechanism that accepts whatever comes and can sign."""

    authenticated = None
    can_sign = True

    def step(self, token: bytes) -> bytes:
        self.authenticated = object()  # type: ignore[assignment]
        return b""

    def mic(self, data: bytes) -> bytes:
        return b"our mic of " + data

    def verify(self, data: bytes, mic: bytes) -> bool:
        return mic == b"their mic of " + data


@pytest.mark.parametrize("mic", [None, b"wrong"])
def test_who_is_moved_to_a_weaker_mechanism_must_sign_the_list(mic: bytes | None) -> None:
    acceptor = SpnegoAcceptor({KERBEROS_OID: _Proved, NTLM_OID: _Proved})  # type: ignore[dict-item]
    acceptor.step(NegTokenInit([NEGOEX, NTLM]).pack())
    with pytest.raises(NtStatusError):
        acceptor.step(NegTokenResp(response_token=b"x", mech_list_mic=mic).pack())
    assert acceptor.authenticated is None


def test_the_mic_is_over_the_list_as_it_was_sent() -> None:
    acceptor = SpnegoAcceptor({KERBEROS_OID: _Proved, NTLM_OID: _Proved})  # type: ignore[dict-item]
    init = NegTokenInit([NEGOEX, NTLM]).pack()
    acceptor.step(init)
    message = spnego_tokens.read_token(init)
    assert isinstance(message, spnego_tokens.Init)
    step = acceptor.step(NegTokenResp(response_token=b"x", mech_list_mic=b"their mic of " + message.mech_list).pack())
    assert unpack_token(step).mech_list_mic == b"our mic of " + message.mech_list


def test_the_name_of_kerberos_that_the_client_used_is_echoed() -> None:
    acceptor = SpnegoAcceptor({KERBEROS_OID: _Proved, NTLM_OID: _Proved})  # type: ignore[dict-item]
    response = unpack_token(acceptor.step(NegTokenInit([MS_KERBEROS, KERBEROS, NTLM], mech_token=b"ap-req").pack()))
    assert response.supported_mech == MS_KERBEROS
    assert response.neg_state == NegState.accept_complete


def test_a_mic_that_repeats_the_token_is_passed_over() -> None:
    def repeat(leg: int, token: bytes) -> bytes:
        response = unpack_token(token)
        if leg != 1:
            return token
        return NegTokenResp(response_token=response.response_token, mech_list_mic=response.response_token).pack()

    exchange_client = ntlm_client()
    exchange = server().begin(ADDRESS)
    challenge = exchange.step(exchange_client.step() or b"").output
    assert exchange.step(repeat(1, exchange_client.step(challenge) or b"")).authenticated is not None


@pytest.mark.parametrize(
    "tokens",
    [
        [NegTokenResp(response_token=b"x").pack()],
        [NegTokenInit([NTLM]).pack(), NegTokenInit([NTLM]).pack()],
        [NegTokenInit([NTLM]).pack(), NegTokenResp().pack()],
        [NegTokenInit([]).pack()],
        [b""],
        [b"\x60\x84\xff\xff\xff\xff"],
        [b"\x60\x06\x06\x04\x2b\x06\x01\x05"],
        [b"\xa0\x80\x00\x00"],
    ],
)
def test_tokens_out_of_order_or_malformed_give_a_status(tokens: list[bytes]) -> None:
    exchange = server().begin(ADDRESS)
    with pytest.raises(NtStatusError) as caught:
        for token in tokens:
            exchange.step(token)
    assert caught.value.status in (NtStatus.INVALID_PARAMETER, NtStatus.LOGON_FAILURE)


def test_a_rejecting_client_ends_it() -> None:
    exchange = server().begin(ADDRESS)
    exchange.step(NegTokenInit([NTLM]).pack())
    with pytest.raises(NtStatusError):
        exchange.step(NegTokenResp(neg_state=NegState.reject).pack())


def test_raw_kerberos_without_a_keytab_is_a_logon_failure() -> None:
    raw = bytes.fromhex("600b06092a864886f712010202")
    with pytest.raises(NtStatusError) as caught:
        server().begin(ADDRESS).step(raw)
    assert caught.value.status is NtStatus.LOGON_FAILURE


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_give_a_der_error(data: bytes) -> None:
    with contextlib.suppress(der.DerError):
        spnego_tokens.read_token(data)
    spnego_tokens.first_mechanism(data)


@given(
    st.lists(st.sampled_from([NTLM, KERBEROS, MS_KERBEROS, NEGOEX]), min_size=1), st.none() | st.binary(max_size=300)
)
def test_what_pyspnego_packs_is_read(mechanisms: list[str], token: bytes | None) -> None:
    message = spnego_tokens.read_token(NegTokenInit(mechanisms, mech_token=token, mech_list_mic=b"mic").pack())
    assert isinstance(message, spnego_tokens.Init)
    assert (len(message.mechanisms), message.token, message.mic) == (len(mechanisms), token, b"mic")
