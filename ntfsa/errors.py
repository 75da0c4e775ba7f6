"""The one table from errno to NTSTATUS: the border between the file-system level and the NT level.

Everything below raises `OSError`; everything above sees `NtStatus`. Nothing else maps an errno.
"""

import errno

from lamina.ntfsa.status import NtStatus, NtStatusError
from lamina.vfs_modules.extensions import StatusError

_STATUS_OF_ERRNO: dict[int, NtStatus] = {
    errno.EPERM: NtStatus.ACCESS_DENIED,
    errno.EACCES: NtStatus.ACCESS_DENIED,
    errno.ENOENT: NtStatus.OBJECT_NAME_NOT_FOUND,
    errno.EEXIST: NtStatus.OBJECT_NAME_COLLISION,
    errno.ENOTDIR: NtStatus.NOT_A_DIRECTORY,
    errno.EISDIR: NtStatus.FILE_IS_A_DIRECTORY,
    errno.ENOTEMPTY: NtStatus.DIRECTORY_NOT_EMPTY,
    errno.ENAMETOOLONG: NtStatus.OBJECT_NAME_INVALID,
    errno.EILSEQ: NtStatus.OBJECT_NAME_INVALID,
    errno.EINVAL: NtStatus.INVALID_PARAMETER,
    errno.EBADF: NtStatus.INVALID_HANDLE,
    errno.ENOSPC: NtStatus.DISK_FULL,
    # Applications know what to do about a full disk, and nothing of quotas; NTFS says the same.
    errno.EDQUOT: NtStatus.DISK_FULL,
    errno.EFBIG: NtStatus.DISK_FULL,
    errno.EROFS: NtStatus.MEDIA_WRITE_PROTECTED,
    errno.EMLINK: NtStatus.TOO_MANY_LINKS,
    errno.EXDEV: NtStatus.NOT_SAME_DEVICE,
    # A link that leads nowhere or out of the share looks to a client as if it were not there.
    errno.ELOOP: NtStatus.OBJECT_PATH_NOT_FOUND,
    errno.EBUSY: NtStatus.SHARING_VIOLATION,
    errno.ETXTBSY: NtStatus.SHARING_VIOLATION,
    errno.EAGAIN: NtStatus.FILE_LOCK_CONFLICT,
    errno.EDEADLK: NtStatus.FILE_LOCK_CONFLICT,
    errno.ENOLCK: NtStatus.INSUFFICIENT_RESOURCES,
    errno.EMFILE: NtStatus.TOO_MANY_OPENED_FILES,
    errno.ENFILE: NtStatus.TOO_MANY_OPENED_FILES,
    errno.ENOMEM: NtStatus.INSUFFICIENT_RESOURCES,
    errno.ENOBUFS: NtStatus.INSUFFICIENT_RESOURCES,
    errno.EIO: NtStatus.IO_DEVICE_ERROR,
    errno.EUCLEAN: NtStatus.DATA_ERROR,
    errno.EBADMSG: NtStatus.DATA_ERROR,
    errno.ENODEV: NtStatus.NO_SUCH_DEVICE,
    errno.ENXIO: NtStatus.NO_SUCH_DEVICE,
    errno.ENOSYS: NtStatus.NOT_SUPPORTED,
    errno.ENOTSUP: NtStatus.NOT_SUPPORTED,
    errno.ENODATA: NtStatus.NONEXISTENT_EA_ENTRY,
    errno.E2BIG: NtStatus.EA_TOO_LARGE,
    errno.ERANGE: NtStatus.EA_TOO_LARGE,
    errno.ESTALE: NtStatus.FILE_CLOSED,
    errno.EHOSTDOWN: NtStatus.DISMOUNTED,
    errno.ESHUTDOWN: NtStatus.DISMOUNTED,
    errno.ENOTCONN: NtStatus.DISMOUNTED,
    errno.ETIMEDOUT: NtStatus.IO_TIMEOUT,
    errno.ECANCELED: NtStatus.CANCELLED,
    errno.EINTR: NtStatus.CANCELLED,
    errno.EPIPE: NtStatus.PIPE_BROKEN,
    errno.EOVERFLOW: NtStatus.INVALID_PARAMETER,
    errno.ENOTBLK: NtStatus.INVALID_DEVICE_REQUEST,
    errno.ENOTTY: NtStatus.INVALID_DEVICE_REQUEST,
    errno.ESPIPE: NtStatus.INVALID_DEVICE_REQUEST,
}


_STATUSES: dict[int, NtStatus] = {status.value: status for status in NtStatus}


def status_of(error: OSError) -> NtStatus:
    """The status that `error` is answered with; UNEXPECTED_IO_ERROR for one without a known errno (MS-ERREF 2.3.1)."""
    if error.__class__ is StatusError:
        return _STATUSES.get(error.status, NtStatus.UNSUCCESSFUL)
    return _STATUS_OF_ERRNO.get(error.errno or 0, NtStatus.UNEXPECTED_IO_ERROR)


def nt_error(error: OSError) -> NtStatusError:
    """The exception that carries `error` up to the reply; raise it `from error`."""
    return NtStatusError(status_of(error), str(error))
