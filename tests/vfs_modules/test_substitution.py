"""Substitutions: which there are where, and that nothing somebody is called leads out of the folder that is meant."""

import os
import re
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lamina.vfs_modules.loader import load_module
from lamina.vfs_modules.module import ModuleOptions
from lamina.vfs_modules.substitution import (
    KNOWN,
    Substituted,
    UnfitValueError,
    check_template,
    fixed_part,
    letters_of,
    substitute_path,
    substituted_options,
)
from tests.support.processes import REPOSITORY


def test_every_letter_of_samba_that_is_promised_is_there() -> None:
    assert set(KNOWN) == set("UuDImShT")
    values = {letter: letter * 2 for letter in KNOWN}
    assert substitute_path("/a/%U/%u/%D/%I/%m/%S/%h/x-%T.%%", values) == "/a/UU/uu/DD/II/mm/SS/hh/x-TT.%"


@pytest.mark.parametrize("template", ["/a/%x", "/a/%", "/a/%P", "/%(x)", "/%$(id)", "/%`"])
def test_what_is_no_substitution_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="no substitution"):
        check_template(template)


@pytest.mark.parametrize(
    "value", ["", ".", "..", "../x", "a/b", "/", "/etc", "a\0", "a\nb", "\x7f", "x" * 256, "ä" * 128, "x/../../etc"]
)
def test_a_value_that_is_no_part_of_a_path_is_refused(value: str) -> None:
    with pytest.raises(UnfitValueError):
        substitute_path("/srv/%U", {"U": value})


@pytest.mark.parametrize(("template", "value"), [("/srv/.%U", "."), ("/srv/%U.", "."), ("/srv/%U%S", ".")])
def test_a_component_that_becomes_another_folder_is_refused(template: str, value: str) -> None:
    with pytest.raises(UnfitValueError):
        substitute_path(template, {"U": value, "S": value})


def test_a_value_with_a_percent_sign_or_a_shells_signs_stands_for_itself() -> None:
    for value in ("%S", "%%", "$(reboot)", "`id`", "a;b", "~root", "-rf", "a b", "..x", "LAMAD+ada", "fe80::1%eth0"):
        assert substitute_path("/srv/%U/x", {"U": value, "S": "other"}) == f"/srv/{value}/x"


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_values_are_the_path_is_beneath_and_its_own(first: str, second: str) -> None:
    made = {}
    for value in (first, second):
        try:
            made[value] = substitute_path("/srv/h-%U/%U/data", {"U": value})
        except (UnfitValueError, UnicodeEncodeError):
            continue
    for path in made.values():
        assert os.path.normpath(path) == path
        assert path.startswith("/srv/h-")
        assert path.count("/") == 4
    assert len(set(made.values())) == len(made)


def test_what_is_fixed_of_a_path_is_the_folder_above() -> None:
    assert [fixed_part(one) for one in ("/srv/%U/x", "/%U", "/srv/100%%/x%S", "/srv/a")] == [
        "/srv", "/", "/srv/100%", "/srv/a"
    ]  # fmt: skip
    assert letters_of("/a/%%U/%I%I") == {"I"}


class Options(ModuleOptions):
    """An option that takes one substitution, one that takes all, and one that takes none."""

    at_connect: Annotated[str, Substituted("S")] = ""
    each: Annotated[str, Substituted()] = ""
    plain: str = ""


def test_the_schema_of_a_module_says_which_options_take_them() -> None:
    assert substituted_options(Options) == {"at_connect": "S", "each": KNOWN}
    assert Options(at_connect="%S", each="%U-%T", plain="100%").plain == "100%"
    with pytest.raises(ValidationError, match="%U stands for nothing here"):
        Options(at_connect="/x/%U")
    with pytest.raises(ValidationError, match="no substitution %x"):
        Options(each="%x")


@pytest.mark.parametrize(
    ("module", "options"),
    [("audit", {"file": "S", "prefix": KNOWN}), ("recycle", {"repository": KNOWN}), ("record", {"file": "S"})],
)
def test_the_stock_modules_say_it(module: str, options: dict[str, str]) -> None:
    assert substituted_options(load_module(module).Options) == options


def test_nothing_in_lamina_calls_a_shell() -> None:
    words = re.compile(r"os\.system|os\.popen|shell\s*=\s*True|create_subprocess_shell|\bpty\b|os\.exec|os\.spawn")
    sources = [path for layer in ("core", "ntfsa", "vfs_modules") for path in (REPOSITORY / layer).rglob("*.py")]
    assert len(sources) > 300
    assert [str(path) for path in sources if words.search(path.read_text(encoding="utf-8"))] == []
