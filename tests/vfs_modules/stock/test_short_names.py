"""The rule of short names: always the same for the same name, of 8.3 characters, and enough of them; its options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lamina.ntfsa.naming.names import fold, present
from lamina.vfs_modules.stock.short_names import ShortNamesModule, ShortNamesOptions, is_short
from lamina.vfs_modules.testing import local_chain

LONG = "A LONG NAME.DOCUMENT"

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."}
)


def rule(**options):
    """What makes short names with these options."""
    return ShortNamesModule(ShortNamesOptions(**options)).short_name


@pytest.mark.parametrize("name", ["README.TXT", "A", "12345678.123", "~$_-!@#%", "(A)'B`.{C}"])
def test_names_that_are_short(name):
    assert is_short(name)
    assert rule()(name, 0) is None


@pytest.mark.parametrize("name", ["123456789", "A.1234", "A.B.C", ".BASHRC", "WITH SPACE", "Ω", "A+B", "A.", "A;B", ""])
def test_names_that_are_not(name):
    assert not is_short(name)


@given(names, st.integers(1, 6), st.integers(0, 99), st.sampled_from("~_A$"))
def test_what_is_made_is_short_and_always_the_same(name, prefix, number, mark):
    short_name = rule(prefix=prefix, mark=mark)
    name = fold(present(name))
    made = short_name(name, number)
    assert (made is None) == is_short(name)
    if made is not None:
        assert is_short(made)
        assert made == fold(made) == rule(prefix=prefix, mark=mark)(name, number)
        assert made.partition(".")[0][6] == mark
        assert len({short_name(name, other) for other in range(1, 30)}) == 29


def test_the_form():
    short_name = rule()
    assert short_name(LONG, 0) == "AFA81N~8.DOC", "another release must not make others"
    assert rule(prefix=5)(LONG, 0)[:5] == "ALONG"
    assert short_name("NO EXTENSION IN THIS", 0)[-2] == "~"
    assert short_name(".HIDDEN FILE", 0).startswith("H")


def test_only_names_that_nt_forbids():
    short_name = rule(names="illegal")
    assert short_name(LONG, 0) is None
    assert is_short(short_name(present("A:B"), 0))
    assert short_name("A:B", 0) is None, "it is told what clients see, and they see another character"


def test_options_by_the_names_that_samba_has_for_them():
    given = {"mangled names": "yes", "mangle prefix": 4, "mangling char": "^"}
    assert ShortNamesOptions.model_validate(given) == ShortNamesOptions(names="all", prefix=4, mark="^")
    assert ShortNamesOptions.model_validate({"mangled names": "illegal"}).names == "illegal"


@pytest.mark.parametrize("wrong", [{"prefix": 0}, {"prefix": 7}, {"mark": "."}, {"mark": "a"}, {"mark": "~~"}])
def test_options_that_no_short_name_could_come_of(wrong):
    with pytest.raises(ValidationError):
        ShortNamesOptions(**wrong)


def test_it_interposes_nowhere(tmp_path):
    chain = local_chain(tmp_path, ShortNamesModule())
    assert chain.pread == chain.modules[-1].pread
    assert chain.extensions.short_names is not None
    assert local_chain(tmp_path).extensions.short_names is None
