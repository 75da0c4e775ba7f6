"""Nothing of the contract is without a case: each operation, and each error that the contract documents for it.

Read off the source of the checks: an operation has a case where a check calls it; an error, where a check that calls
the operation expects it with `fails_with`. The sweeps over all operations (`calls`) do not count.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina.vfs_modules.testing as kit
from lamina.vfs_modules.operations import OPERATIONS, Capability, Operations
from lamina.vfs_modules.testing.calls import callable_operations
from lamina.vfs_modules.testing.suite import entries

FOLDER = Path(kit.__file__).parent
SOURCES = sorted({*FOLDER.glob("*_checks.py"), FOLDER / "suite.py"})
BY_HAND = {"make": "open", "names": "readdir", "read": "pread", "open": "open", "mkdir": "mkdir", "rename": "rename"}
"""Which operations the methods of `Hand` and the helpers of checks stand for."""

HELPERS = {"_make": "open_stream", "_status": "fstat"}

NO_CASE_ABOUT = {
    Capability.SNAPSHOTS: "which there are is made outside of the chain",
    Capability.OBJECT_IDS: "they are kept as extended attributes, by ntfsa",
    Capability.DURABLE_HANDLES: "nobody has to claim it whose handles would do; where it is claimed, it is tried",
    Capability.CONTINUOUS_AVAILABILITY: "a promise of the whole installation",
    Capability.MODE_IGNORED: "a promise of what is above the chain",
    Capability.POSIX_ACLS: "kept in step by the module that claims it",
    Capability.LISTS_AS_GIVEN: "a promise about access lists to ntfsa",
    Capability.DEFAULT_LIST_FOR_EVERYONE: "a promise about access lists to ntfsa",
    Capability.DEFAULT_LIST_OF_MODE: "a promise about access lists to ntfsa",
}

NOT_TO_BE_HAD = dict.fromkeys(
    (
        "EBADMSG",
        "EBUSY",
        "EDQUOT",
        "EFBIG",
        "EIO",
        "EMFILE",
        "EMLINK",
        "ENOLCK",
        "ENOMEM",
        "ENOSPC",
        "EROFS",
        "ETXTBSY",
    ),
    "nothing that is done through a chain brings it about for certain",
) | {"ENOTSUP": "what is not claimed is tried by the cases of claims"}

_SEVERAL = "one of several that say that there is no room; any is taken"

NO_CASE_OF_ERROR = {
    ("open_root", "EACCES"): "the share's folder is the administrator's",
    ("open_root", "ENOENT"): "the share's folder is the administrator's",
    ("rename", "EXDEV"): "asks for two file systems in one share",
    ("link", "EXDEV"): "asks for two file systems in one share",
    ("copy_range", "EXDEV"): "asks for two file systems in one share",
    ("clone_range", "EXDEV"): "asks for two file systems in one share",
    ("pread", "EAGAIN"): "from a lock that only some stores have",
    ("pwrite", "EAGAIN"): "from a lock that only some stores have",
    ("ftruncate", "EINVAL"): "for a length that ntfsa never asks for",
    ("setxattr", "E2BIG"): _SEVERAL,
    ("setxattr", "ERANGE"): _SEVERAL,
    ("set_quota", "ERANGE"): "for limits that some stores cannot express",
    ("get_quota", "ENOENT"): "for numbers that some stores do not know",
    ("list_quotas", "ENOENT"): "for numbers that some stores do not know",
    ("set_lease", "EACCES"): "for what the server's own user may not lease",
    ("readlink", "EACCES"): "as of `stat`",
    ("listxattr", "EACCES"): "some stores tell everybody the names",
    ("set_compressed", "EACCES"): "compression is tried where there is some, as root",
    ("set_dos_attributes", "EACCES"): "ntfsa decides who may",
    ("set_times", "EACCES"): "ntfsa decides who may, and modules then do it for him",
    ("set_security", "EPERM"): "ntfsa decides who may",
    ("open_stream", "EACCES"): "ntfsa decides who may, and stores differ",
    ("remove_stream", "EACCES"): "ntfsa decides who may, and stores differ",
    ("rename_stream", "EACCES"): "ntfsa decides who may, and stores differ",
}

NO_CASE = {"fallocate": "may do nothing at all"}
OF_EVERY_HAND = {"open_root", "close"}
"""What no check calls by name: each hand opens the root, and closes what it has opened."""


def calls(tree: ast.AST) -> set[str]:
    """The operations that are called somewhere in a piece of source."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(BY_HAND.get(node.attr, node.attr))
        elif isinstance(node, ast.Name):
            found.add(HELPERS.get(node.id, ""))
    return found & OPERATIONS.keys()


def expected() -> Iterator[tuple[str, str]]:
    """Each operation with each error that a check expects of it."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.With):
                numbers = {name for item in node.items for name in _numbers(item.context_expr)}
                yield from ((operation, number) for operation in calls(node) for number in numbers)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_won":
                yield from ((operation, number) for operation in calls(node) for number in _numbers(node))


def _numbers(node: ast.AST) -> set[str]:
    refused = any(isinstance(inner, ast.Name) and inner.id == "_REFUSED" for inner in ast.walk(node))
    return ({"EPERM", "EACCES"} if refused else set()) | {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "errno"
    }


def documented() -> list[tuple[str, str]]:
    """Each operation with each error in the `Errors:` part of its documentation."""
    found = []
    for name in OPERATIONS:
        text = inspect.getdoc(getattr(Operations, name)) or ""
        part = re.search(r"^Errors: (.*?)(?=^[A-Z][a-z ]+: |\Z)", text, re.DOTALL | re.MULTILINE)
        found += [(name, error) for error in sorted(set(re.findall(r"\bE[A-Z0-9]{2,}\b", part[1] if part else "")))]
    return found


def test_every_operation_has_a_case():
    called = set().union(*(calls(ast.parse(source.read_text())) for source in SOURCES))
    assert set(OPERATIONS) - called - OF_EVERY_HAND == set(NO_CASE)


def test_every_operation_is_cancelled_and_fails():
    assert set(callable_operations()) == set(OPERATIONS)


def test_every_capability_has_a_case_or_a_reason():
    about = [one for one in Capability if any(one in entry.needs for entry in entries())]
    assert set(Capability) - set(about) == set(NO_CASE_ABOUT)


@pytest.mark.parametrize(("operation", "error"), documented())
def test_every_documented_error_has_a_case_or_a_reason(operation: str, error: str):
    has_case, reason = (operation, error) in set(expected()), _why_not(operation, error)
    assert has_case or reason, f"{operation} documents {error}, and no check expects it"
    assert not (has_case and (operation, error) in NO_CASE_OF_ERROR), f"there is a case: {reason}"


def _why_not(operation: str, error: str) -> str:
    if operation in NO_CASE:
        return NO_CASE[operation]
    return NOT_TO_BE_HAD.get(error, "") or NO_CASE_OF_ERROR.get((operation, error), "")
