"""Key derivation against Microsoft's published vectors ("SMB 2 and SMB 3 security in Windows 10: the anatomy of
signing and cryptographic keys", appendix). Its EncryptionKey is the client's, which is the server's decryption key."""

from itertools import pairwise

import pytest

from lamina.core.crypto.kdf import AES_128_GCM, AES_256_CCM, AES_256_GCM, pad_session_key, session_keys, smb3kdf
from lamina.core.settings import Dialect

KEY_30 = bytes.fromhex("7CD451825D0450D235424E44BA6E78CC")
KEY_30_BOUND = bytes.fromhex("4E01A2B313BCF660CC250BEF021AEDE6")
KEY_311 = bytes.fromhex("270E1BA896585EEB7AF3472D3B4C75A7")
PREAUTH_311 = bytes.fromhex(
    "0DD13628CC3ED218EF9DF9772D436D0887AB9814BFAE63A80AA845F36909DB79"
    "28622DDDAD522D9751640A459762C5A9D6BB084CBB3CE6BDADEF5D5BCE3C6C01"
)


@pytest.mark.parametrize("dialect", [Dialect.SMB_3_0, Dialect.SMB_3_0_2])
def test_keys_of_3_0_are_the_published_ones(dialect: Dialect) -> None:
    keys = session_keys(dialect, KEY_30, KEY_30)
    assert keys.signing.hex() == "0b7e9c5cac36c0f6ea9ab275298cedce"
    assert keys.decryption.hex() == "fad27796665b313ebb578f388632b4f7"
    assert keys.encryption.hex() == "b0f0427f7ceb416d1d9dcc0cd4f99447"
    assert keys.application.hex() == "bb23a4575aa26c721af525af15a87b4f"


def test_signing_key_of_a_bound_channel_is_the_published_one() -> None:
    assert session_keys(Dialect.SMB_3_0, KEY_30_BOUND, b"").signing.hex() == "ba1a17dbbfec349bca105563d598952f"


def test_keys_of_3_1_1_are_the_published_ones() -> None:
    keys = session_keys(Dialect.SMB_3_1_1, KEY_311, KEY_311, PREAUTH_311, AES_128_GCM)
    assert keys.signing.hex() == "73fe7a9a77bef0bde49c650d8ccb5f76"
    assert keys.decryption.hex() == "629bcbc54422a0f572b97f45989b6073"
    assert keys.encryption.hex() == "e2af0dcefac68da71a0dfbd0d1350d74"
    assert keys.application.hex() == "6d7ad7954e9ec61e907b4d473dc178ff"


@pytest.mark.parametrize("cipher", [AES_256_CCM, AES_256_GCM])
def test_aes_256_keys_come_from_the_full_key_and_the_others_do_not(cipher: int) -> None:
    full = bytes(range(32))
    keys = session_keys(Dialect.SMB_3_1_1, full, full, PREAUTH_311, cipher)
    assert keys.encryption == smb3kdf(full, b"SMBS2CCipherKey\0", PREAUTH_311, 256)
    assert keys.decryption == smb3kdf(full, b"SMBC2SCipherKey\0", PREAUTH_311, 256)
    assert keys.signing == smb3kdf(full[:16], b"SMBSigningKey\0", PREAUTH_311, 128)
    assert [len(key) for key in keys] == [16, 32, 32, 16]


@pytest.mark.parametrize("dialect", [Dialect.SMB_2_0_2, Dialect.SMB_2_1])
def test_2_x_signs_with_the_session_key_and_cannot_encrypt(dialect: Dialect) -> None:
    assert session_keys(dialect, KEY_30, KEY_30) == (KEY_30, b"", b"", KEY_30)


def test_a_short_key_is_filled_with_zeros_and_a_long_one_cut() -> None:
    assert pad_session_key(b"abc") == b"abc" + bytes(13)
    assert pad_session_key(bytes(range(32))) == bytes(range(16))


def test_every_purpose_has_its_own_key() -> None:
    keys = sorted(session_keys(Dialect.SMB_3_0, KEY_30, KEY_30))
    assert all(one != other for one, other in pairwise(keys))


@pytest.mark.parametrize("bits", [0, 12, 264, 512])
def test_a_length_that_one_block_cannot_give_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="cannot be derived"):
        smb3kdf(KEY_30, b"a\0", b"b\0", bits)
