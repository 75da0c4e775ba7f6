"""The documentation of caching rights says what the rules do."""

from lamina.ntfsa.grants import caching
from tests.caching import page


def test_the_page_is_what_the_rules_do() -> None:
    written = page.PAGE.read_text()
    assert page.parts_of(written) == set(page.PARTS)
    assert page.renewed(written) == written, "stale: run python -m tests.caching.page"


def test_every_operation_has_its_page_of_the_specification() -> None:
    assert {getattr(caching, name) for name in page._SECTIONS} == set(caching.OPERATIONS)
