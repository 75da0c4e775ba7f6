"""The options of modules: under which names they may be given."""

from collections.abc import Mapping
from typing import ClassVar

import pytest
from pydantic import ValidationError

from lamina.vfs_modules.loader import installed_modules, load_module
from lamina.vfs_modules.module import ModuleOptions, named_by_samba


class Options(ModuleOptions):
    samba_names: ClassVar[Mapping[str, str]] = named_by_samba("keeper", "size", keep_tree="keep tree")

    size: int = 1
    keep_tree: bool = False
    more: int = 0


@pytest.mark.parametrize("name", ["size", "keeper:size"])
def test_an_option_may_be_given_as_samba_calls_it(name):
    assert Options.model_validate({name: 3}) == Options(size=3)


@pytest.mark.parametrize("name", ["keep_tree", "keep tree", "keeper:keep tree"])
@pytest.mark.parametrize("value", [True, "yes"])
def test_blanks_are_understood_and_so_is_yes(name, value):
    assert Options.model_validate({name: value}) == Options(keep_tree=True)


def test_one_option_under_two_names_is_refused():
    with pytest.raises(ValidationError, match="'size' is given twice, once as Samba calls it"):
        Options.model_validate({"size": 3, "keeper:size": 4})


def test_what_neither_knows_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Options.model_validate({"other:size": 3})


def test_options_of_samba_that_are_no_modules_there_have_no_prefix():
    assert named_by_samba("", locks="posix locking") == {"locks": "posix locking"}


@pytest.mark.parametrize("name", sorted(installed_modules()))
def test_what_samba_names_are_given_for_are_options(name):
    options = load_module(name).Options
    assert set(options.samba_names) <= set(options.model_fields)
