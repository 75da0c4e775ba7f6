"""The hash chain of audit records: what was done to a file shows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.vfs_modules.stock.auditing.hash_chain import NOTHING, HashChain, digest, resume, verify


def sealed(count: int, key: bytes = b"") -> list[bytes]:
    chain = HashChain(key)
    return [chain.seal({"operation": "open", "path": f"file {number}"}) for number in range(count)]


def test_each_record_has_the_hash_of_the_line_before() -> None:
    lines = sealed(3)
    records = [json.loads(line) for line in lines]
    assert [record["seq"] for record in records] == [1, 2, 3]
    assert [record["previous"] for record in records] == [NOTHING, digest(lines[0]), digest(lines[1])]


def test_what_was_written_is_whole() -> None:
    lines = sealed(10)
    verdict = verify(line + b"\n" for line in lines)
    assert (verdict.first, verdict.last, verdict.records, verdict.problems) == (1, 10, 10, [])
    assert verdict.last_hash == digest(lines[-1])
    assert verify([]).records == 0


@given(st.integers(0, 8), st.integers(0, 40), st.integers(1, 255))
def test_a_changed_byte_shows(line: int, byte: int, flip: int) -> None:
    lines = sealed(10)
    changed = bytearray(lines[line])
    changed[byte % len(changed)] ^= flip
    if b"\n" in changed:
        return
    lines[line] = bytes(changed)
    assert verify(lines).problems


@given(st.integers(1, 8))
def test_a_record_that_was_taken_away_shows(line: int) -> None:
    lines = sealed(10)
    del lines[line]
    assert verify(lines).problems


@given(st.integers(0, 8), st.integers(0, 8))
def test_a_record_that_was_added_or_moved_shows(line: int, to: int) -> None:
    lines = sealed(10)
    lines.insert(to, lines[line])
    assert verify(lines).problems


def test_the_chain_of_a_rotated_file_goes_on_in_the_next() -> None:
    lines = sealed(10)
    verdict = verify(lines[4:])
    assert (verdict.first, verdict.last, verdict.problems) == (5, 10, [])


def test_only_the_key_makes_and_verifies() -> None:
    lines = sealed(3, b"key")
    assert verify(lines, b"key").problems == []
    assert verify(lines).problems
    assert verify(lines, b"other").problems
    assert verify(sealed(3), b"key").problems


def test_a_chain_goes_on_after_a_restart() -> None:
    lines = sealed(3)
    chain, torn = resume(b"".join(line + b"\n" for line in lines))
    assert not torn
    assert verify([*lines, chain.seal({"event": "started"})]).problems == []
    assert resume(b"")[0].seal({}) == HashChain().seal({})


def test_a_line_that_a_crash_has_torn_is_told_from_a_forged_one() -> None:
    lines = sealed(3)
    end = lines[2][:20]
    chain, torn = resume(lines[0] + b"\n" + lines[1] + b"\n" + end)
    assert torn
    noted = chain.seal({"event": "resumed", "torn": True})
    assert json.loads(noted)["seq"] == 3
    assert verify([*lines[:2], end, noted]).problems == []
    assert verify([*lines[:2], lines[2][:19] + b"x", noted]).problems
    assert verify([*lines[:2], end, HashChain(b"", 2, digest(end)).seal({})]).problems
    assert verify([*lines[:2], end]).problems == ["the last line is not whole"]


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b'{"seq":"1"}', b'{"seq":1}', b"\xff"])
def test_what_is_no_record_shows(line: bytes) -> None:
    assert verify([*sealed(2), line, *sealed(1)]).problems
