"""Each operation of the contract says all that a module writer has to know, in the same order, and it is true."""

import errno
import inspect
import re

import pytest

from lamina.vfs_modules.operations import BACKEND_MUST_IMPLEMENT, OPERATIONS, FileStat, Operations
from lamina.vfs_modules.operations.described import PARTS, description

_ERRNO = re.compile(r"\bE[A-Z0-9]{2,}\b")


def answers(name):
    return inspect.signature(getattr(Operations, name)).return_annotation is not None


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_everything_in_the_order_of_all(name):
    said = description(name)
    assert said.what.endswith(".")
    assert list(said.parts) == [part for part in PARTS if part != "Answer" or answers(name)]
    assert all(text.endswith(".") for text in said.parts.values())


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_names_all_its_arguments(name):
    parameters = set(inspect.signature(getattr(Operations, name)).parameters) - {"self", "token", "handle"}
    told = description(name).parts["Arguments"]
    also = {"source_offset", "target_offset"} if "offsets and" in told else set()
    also |= {"source_directory", "target_directory"} if "two handles" in told else set()
    said = set(re.findall(r"`(\w+)", told)) | also | ({"directory", "path", "name"} if "as for" in told else set())
    assert parameters <= said


@pytest.mark.parametrize("name", OPERATIONS)
def test_errors_are_those_of_errno(name):
    told = description(name).parts["Errors"]
    named = _ERRNO.findall(told)
    assert named or told.startswith("any: ")
    assert [each for each in named if not hasattr(errno, each)] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_said_of_waiting_is_what_the_table_says(name):
    assert description(name).parts["Waits"].startswith("never") == (not OPERATIONS[name].waits)


def default_of(name):
    """What a chain does in which nobody implements the operation: its errno, or 0."""
    token, *rest = list(inspect.signature(getattr(Operations, name)).parameters)[1:]
    try:
        getattr(Operations(), name)(**dict.fromkeys([token, *rest], FileStat(*[0] * 12)))
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_default_is_the_one_that_is_told(name):
    told = description(name).parts["Default"]
    assert default_of(name) == (errno.ENOTSUP if told.startswith("ENOTSUP") else 0)
    assert ("a backend must implement it" in told) == (name in BACKEND_MUST_IMPLEMENT)
