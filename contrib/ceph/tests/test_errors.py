"""What the library's results mean."""

import errno

import pytest

from lamina_ceph.errors import LOST, StaleHandle, checked, checked_handle, error_of, fail


def test_a_negative_result_is_an_errno() -> None:
    with pytest.raises(FileNotFoundError):
        checked(-errno.ENOENT)
    assert checked(0) == 0
    assert checked(17) == 17


def test_what_went_wrong_before_the_cluster_was_reached_is_an_errno_of_linux_too() -> None:
    for result in (-1000, -1001, -1002, -1003):
        with pytest.raises(OSError) as caught:
            checked(result)
        assert caught.value.errno in errno.errorcode
    assert "no map of the monitors" in str(error_of(-1000, "the cluster"))


def test_an_error_says_what_was_asked_for() -> None:
    error = error_of(-errno.ENOENT, "Ceph's configuration /etc/ceph/ceph.conf")
    assert isinstance(error, FileNotFoundError)
    assert "Ceph's configuration /etc/ceph/ceph.conf: No such file" in str(error)


def test_a_handle_that_the_library_does_not_know_any_more_is_told_apart() -> None:
    with pytest.raises(StaleHandle):
        checked_handle(-errno.EBADF)
    with pytest.raises(OSError) as caught:
        checked_handle(-errno.ENOSPC)
    assert not isinstance(caught.value, StaleHandle)


def test_a_client_that_was_put_out_is_lost() -> None:
    assert errno.ESHUTDOWN in LOST
    with pytest.raises(OSError, match="Is a directory"):
        fail(errno.EISDIR, b"name")
