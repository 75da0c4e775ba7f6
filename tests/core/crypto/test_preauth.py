import hashlib

from lamina.core.crypto.preauth import INITIAL_HASH, update


def test_each_message_is_hashed_after_the_hash_so_far() -> None:
    first = update(INITIAL_HASH, b"negotiate")
    assert first == hashlib.sha512(bytes(64) + b"negotiate").digest()
    assert update(first, memoryview(b"response")) == hashlib.sha512(first + b"response").digest()
