import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.ntfsa.naming.names import (
    DATA_STREAM,
    DIRECTORY_STREAM,
    ROOT,
    NtPath,
    check_name,
    fold,
    join_path,
    parse_path,
    present,
    to_posix,
    utf16_length,
)
from lamina.ntfsa.status import NtStatus, NtStatusError


@pytest.mark.parametrize(
    ("path", "parsed"),
    [
        ("", ROOT),
        ("a", NtPath(("a",))),
        ("a\\b.txt", NtPath(("a", "b.txt"))),
        ("a\\", NtPath(("a",), trailing_separator=True)),
        ("a:s", NtPath(("a",), "s")),
        ("a:s:$DATA", NtPath(("a",), "s", DATA_STREAM)),
        ("a::$data", NtPath(("a",), "", DATA_STREAM)),
        ("a\\b:s*?", NtPath(("a", "b"), "s*?")),
        (":s", NtPath((), "s")),
        ("d::$INDEX_ALLOCATION", NtPath(("d",), "", DIRECTORY_STREAM)),
        ("d:$I30:$INDEX_ALLOCATION", NtPath(("d",), "", DIRECTORY_STREAM)),
        ("...", NtPath(("...",))),
        ("a\\..", ROOT),
        ("a\\..\\b", NtPath(("b",))),
        ("a\\b\\..\\..\\c:s", NtPath(("c",), "s")),
        ("x" * 255, NtPath(("x" * 255,))),
        ("\U0001f600" * 127, NtPath(("\U0001f600" * 127,))),
        ("\ud800", NtPath(("\ud800",))),
    ],
)
def test_valid_paths(path: str, parsed: NtPath) -> None:
    assert parse_path(path) == parsed


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("\\a", NtStatus.INVALID_PARAMETER),
        ("\\", NtStatus.INVALID_PARAMETER),
        ("a\\\\b", NtStatus.OBJECT_NAME_INVALID),
        (".", NtStatus.OBJECT_NAME_INVALID),
        ("a\\.\\b", NtStatus.OBJECT_NAME_INVALID),
        ("..", NtStatus.OBJECT_PATH_SYNTAX_BAD),
        ("..\\a", NtStatus.OBJECT_PATH_SYNTAX_BAD),
        ("a\\..\\..\\b", NtStatus.OBJECT_PATH_SYNTAX_BAD),
        ("a\\.\\..", NtStatus.OBJECT_NAME_INVALID),
        ("/a", NtStatus.INVALID_PARAMETER),
        ("a//b", NtStatus.OBJECT_NAME_INVALID),
        ("a:s/b", NtStatus.OBJECT_NAME_INVALID),
        ("a\x00", NtStatus.OBJECT_NAME_INVALID),
        ("a:", NtStatus.OBJECT_NAME_INVALID),
        ("a::", NtStatus.OBJECT_NAME_INVALID),
        ("a:s:", NtStatus.OBJECT_NAME_INVALID),
        ("a:s:$BOGUS", NtStatus.OBJECT_NAME_INVALID),
        ("a:s:$DATA:x", NtStatus.OBJECT_NAME_INVALID),
        ("a:s\\b", NtStatus.OBJECT_NAME_INVALID),
        ("d:other:$INDEX_ALLOCATION", NtStatus.OBJECT_NAME_INVALID),
        ("a\\:s", NtStatus.OBJECT_NAME_INVALID),
        ("x" * 256, NtStatus.OBJECT_NAME_INVALID),
        ("\U0001f600" * 128, NtStatus.OBJECT_NAME_INVALID),
        ("a:" + "s" * 256, NtStatus.OBJECT_NAME_INVALID),
        ("a\\" * 20000, NtStatus.OBJECT_NAME_INVALID),
    ],
)
def test_refused_paths(path: str, status: NtStatus) -> None:
    with pytest.raises(NtStatusError) as caught:
        parse_path(path)
    assert caught.value.status == status


def test_a_slash_separates_as_a_backslash_does() -> None:
    assert parse_path("a/b\\c:s") == parse_path("a\\b\\c:s")
    assert parse_path("a/") == parse_path("a\\")


@pytest.mark.parametrize("character", [*'"*<>?|', *map(chr, range(32))])
def test_reserved_characters_are_refused(character: str) -> None:
    with pytest.raises(NtStatusError) as caught:
        parse_path(f"a{character}b")
    assert caught.value.status == NtStatus.OBJECT_NAME_INVALID


@given(st.text(st.characters() | st.sampled_from("\\:./$\ud800\udcff"), max_size=40))
def test_a_path_is_refused_or_safe_on_disk(path: str) -> None:
    try:
        parsed = parse_path(path)
    except NtStatusError:
        return
    for component in parsed.components:
        stored = to_posix(component)
        assert stored not in {"", ".", ".."}
        assert "/" not in stored
        assert "\x00" not in stored
        stored.encode("utf-8", "surrogateescape")
    plain = ".." not in path.replace("/", "\\").split("\\")
    if plain and not parsed.stream_type and not parsed.trailing_separator:
        assert join_path(parsed.components, parsed.stream) == path.replace("/", "\\")


@given(st.binary(max_size=30))
def test_names_on_disk_come_back_as_they_were(data: bytes) -> None:
    name = data.replace(b"/", b"").replace(b"\x00", b"").decode("utf-8", "surrogateescape")
    shown = present(name)
    assert set(shown).isdisjoint('"*:<>?\\|')
    private = {chr(0xF000 + code) for code in range(128)}
    if set(name).isdisjoint(private):
        assert to_posix(shown) == name


@given(st.integers(0xD800, 0xDFFF).map(chr))
def test_a_lone_surrogate_can_be_stored_and_is_shown_again(character: str) -> None:
    stored = to_posix(f"a{character}b")
    stored.encode("utf-8", "surrogateescape")
    assert present(stored) == f"a{character}b"


@given(st.text())
def test_folding_is_stable_and_keeps_the_length(name: str) -> None:
    folded = fold(name)
    assert fold(folded) == folded
    assert len(folded) == len(name)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("File", "fILE", True),
        ("ärger", "ÄRGER", True),
        ("ÿ", "Ÿ", True),
        ("ａ", "Ａ", True),
        ("straße", "STRASSE", False),
        ("ı", "I", False),
        ("ſ", "S", False),
        ("\u212a", "k", False),
        ("σ", "ς", True),
        ("𐐨", "𐐀", False),
        ("a\u0308", "ä", False),
    ],
)
def test_case(one: str, other: str, same: bool) -> None:
    assert (fold(one) == fold(other)) is same


def test_check_name_takes_one_component() -> None:
    assert check_name("a.txt") == "a.txt"
    for bad in ("a\\b", "a:b", "", ".", "a*"):
        with pytest.raises(NtStatusError):
            check_name(bad)


def test_length_counts_code_units() -> None:
    assert utf16_length("aä\U0001f600") == 4
