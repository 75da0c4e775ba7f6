import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.names import decode_name, encode_name

raw_names = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b""))
surrogates = st.lists(st.sampled_from([b"\xed\xa0\x80", b"\xed\xb2\x80", b"\xed\xbf\xbf", b"a", b"\xff", b"\xed"])).map(
    b"".join
)


@given(raw_names | surrogates)
def test_what_a_directory_holds_comes_back_to_the_same_bytes(raw: bytes) -> None:
    assert encode_name(decode_name(raw)) == raw


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40))
def test_a_name_without_surrogates_is_plain_utf8(name: str) -> None:
    assert encode_name(name) == name.encode()
    assert decode_name(name.encode()) == name


@given(st.text(alphabet=st.sampled_from([chr(code) for code in (0x41, 0xD800, 0xDBFF, 0xDC80, 0xDCFF, 0x1F600)])))
def test_names_with_lone_surrogates_name_what_they_named(name: str) -> None:
    raw = encode_name(name)
    assert encode_name(decode_name(raw)) == raw


def test_a_lone_surrogate_is_kept() -> None:
    for code in (0xD800, 0xDBFF, 0xDC00, 0xDC7F, 0xDD00, 0xDFFF, 0xDC80, 0xDCFF):
        name = f"a{chr(code)}b"
        assert decode_name(encode_name(name)) == name


def test_a_nul_is_refused() -> None:
    with pytest.raises(OSError) as caught:
        encode_name("a\0b")
    assert caught.value.errno == errno.EINVAL
