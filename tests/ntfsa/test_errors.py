import errno

import pytest

from lamina.ntfsa.errors import nt_error, status_of
from lamina.ntfsa.status import NtStatus


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ENOENT, NtStatus.OBJECT_NAME_NOT_FOUND),
        (errno.EACCES, NtStatus.ACCESS_DENIED),
        (errno.EEXIST, NtStatus.OBJECT_NAME_COLLISION),
        (errno.ENOTEMPTY, NtStatus.DIRECTORY_NOT_EMPTY),
        (errno.ENOSPC, NtStatus.DISK_FULL),
        (errno.EXDEV, NtStatus.NOT_SAME_DEVICE),
        (99999, NtStatus.UNEXPECTED_IO_ERROR),
    ],
)
def test_errno_has_its_status(number: int, status: NtStatus) -> None:
    assert status_of(OSError(number, "x")) == status


def test_an_error_without_errno_is_unexpected() -> None:
    assert status_of(OSError("no number")) == NtStatus.UNEXPECTED_IO_ERROR


def test_no_errno_is_a_success() -> None:
    assert all(status_of(OSError(number, "")) >= 0x80000000 for number in errno.errorcode)


def test_nt_error_keeps_the_text() -> None:
    error = nt_error(OSError(errno.EACCES, "not yours"))
    assert error.status == NtStatus.ACCESS_DENIED
    assert "not yours" in str(error)
