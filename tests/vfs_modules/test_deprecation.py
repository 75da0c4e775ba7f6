"""Who uses what is on its way out of the contract is told once, at load, with what to do instead."""

import warnings

import pytest

from lamina.vfs_modules import deprecation
from lamina.vfs_modules.deprecation import ContractDeprecationWarning, deprecated_uses, warn_of_deprecated
from lamina.vfs_modules.hooks import Announcements, listens
from lamina.vfs_modules.loader import vet
from lamina.vfs_modules.module import VfsModule
from lamina.vfs_modules.operations import OPERATIONS, Operations
from lamina.vfs_modules.operations.table import DEPRECATED, Deprecation, deprecated

SINCE, REMOVED = (1, 4), (2, 0)


@pytest.fixture
def marked(monkeypatch):
    """Deprecate an operation, or one argument of it, or an announcement, for the time of a test."""

    def mark(owner, name, argument=""):
        old = getattr(owner, name)
        monkeypatch.setattr(old, DEPRECATED, {argument: Deprecation(SINCE, REMOVED, "use `other`")}, raising=False)

    return mark


def uses(kind):
    return [text.partition(" ")[2] for text in deprecated_uses(kind)]


END = "which is deprecated since version 1.4 of the contract and goes with 2.0: use `other`"


class Module(VfsModule):
    def fchmod(self, token, handle, mode):
        self.next.fchmod(token, handle, mode)

    @listens
    def event(self, kind):
        pass


def test_an_operation_that_is_implemented(marked):
    marked(Operations, "fchmod")
    marked(Operations, "fchown")
    assert uses(Module) == [f"implements the operation 'fchmod', {END}"]


def test_an_argument_of_an_operation_that_is_implemented(marked):
    marked(Operations, "fchmod", "mode")
    assert uses(Module) == [f"implements the operation 'fchmod' with its argument 'mode', {END}"]


def test_an_argument_of_an_announcement_only_where_it_is_taken(marked):
    marked(Announcements, "event", "details")
    assert uses(Module) == []
    marked(Announcements, "event", "kind")
    assert uses(Module) == [f"listens to 'event' with its argument 'kind', {END}"]


def test_an_attribute_that_a_class_has_and_not_one_that_it_inherits_from_the_contract(monkeypatch):
    monkeypatch.setitem(deprecation.ATTRIBUTES, "provides", Deprecation(SINCE, REMOVED, "use `other`"))

    class Own(Module):
        provides = ("x",)

    assert uses(Module) == []
    assert uses(Own) == [f"has the attribute 'provides', {END}"]


def test_the_author_is_told_once_when_the_module_is_loaded(marked):
    class Fresh(Module):
        pass

    marked(Operations, "fchmod")
    with pytest.warns(ContractDeprecationWarning, match="Fresh implements the operation 'fchmod'"):
        vet("fresh", Fresh)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vet("fresh", Fresh)
        warn_of_deprecated(VfsModule)


def test_a_mark_stands_where_it_is_declared_and_adds_up():
    @deprecated((1, 1), (2, 0), "use b", argument="x")
    @deprecated((1, 2), (3, 0), "use c")
    def operation(x):
        pass

    assert getattr(operation, DEPRECATED) == {
        "": Deprecation((1, 2), (3, 0), "use c"),
        "x": Deprecation((1, 1), (2, 0), "use b"),
    }


def test_what_is_deprecated_goes_with_a_major_version():
    with pytest.raises(ValueError, match="a major version"):
        deprecated((1, 1), (1, 2), "use b")


def test_nothing_that_is_deprecated_is_overdue():
    from lamina.vfs_modules.operations import API_VERSION

    marks = [getattr(getattr(Operations, name), DEPRECATED, {}) for name in OPERATIONS]
    all_of_them = [*(one for each in marks for one in each.values()), *deprecation.ATTRIBUTES.values()]
    assert [one for one in all_of_them if not one.since <= API_VERSION < one.removed] == []
