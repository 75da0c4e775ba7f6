"""libgfapi, as it is declared in glusterfs/api/glfs.h and glfs-handles.h: its functions, structures and numbers.

The library is opened when it is first needed, through cffi without a compiler: what is declared here must be what the
library has, and a test compiles a C program against the headers that says so. A call lets other threads of Python run.
Only versions 6 and newer of GlusterFS have these (read, write, fsync and ftruncate were given arguments then).
"""

import ctypes.util
import errno
import functools
import os
import platform
from struct import Struct
from typing import Any, Final, NamedTuple

from cffi import FFI
from lamina.vfs_modules.operations import FileStat

LIBRARY: Final = "libgfapi.so.0"

SET_MODE, SET_UID, SET_GID, SET_ATIME, SET_MTIME = 0x1, 0x2, 0x4, 0x10, 0x20
WITH_STAT, WITH_HANDLE = 0x1, 0x2
HANDLE_LENGTH: Final = 16
SEEK_DATA, SEEK_HOLE = 3, 4
UP_RENAME: Final = 0x80
EVENT_INODE_INVALIDATE: Final = 0x1
REASON_INODE_INVALIDATE: Final = 1

FUNCTIONS: Final = """
glfs_t *glfs_new(const char *volname);
int glfs_set_volfile_server(glfs_t *fs, const char *transport, const char *host, int port);
int glfs_set_logging(glfs_t *fs, const char *logfile, int loglevel);
int glfs_set_xlator_option(glfs_t *fs, const char *xlator, const char *key, const char *value);
int glfs_init(glfs_t *fs);
int glfs_fini(glfs_t *fs);
int glfs_get_volumeid(glfs_t *fs, char *volid, size_t size);
void glfs_free(void *ptr);

int glfs_setfsuid(uint32_t fsuid);
int glfs_setfsgid(uint32_t fsgid);
int glfs_setfsgroups(size_t size, const uint32_t *list);

glfs_object_t *glfs_h_lookupat(glfs_t *fs, glfs_object_t *parent, const char *path, struct stat *stat, int follow);
glfs_object_t *glfs_h_creat_open(glfs_t *fs, glfs_object_t *parent, const char *path, int flags, uint32_t mode,
                                 struct stat *stat, glfs_fd_t **out_fd);
glfs_object_t *glfs_h_mkdir(glfs_t *fs, glfs_object_t *parent, const char *path, uint32_t flags, struct stat *sb);
glfs_object_t *glfs_h_symlink(glfs_t *fs, glfs_object_t *parent, const char *name, const char *data,
                              struct stat *stat);
glfs_object_t *glfs_h_create_from_handle(glfs_t *fs, unsigned char *handle, int len, struct stat *stat);
ssize_t glfs_h_extract_handle(glfs_object_t *object, unsigned char *handle, int len);
glfs_object_t *glfs_object_copy(glfs_object_t *src);
int glfs_h_close(glfs_object_t *object);
int glfs_h_unlink(glfs_t *fs, glfs_object_t *parent, const char *path);
int glfs_h_link(glfs_t *fs, glfs_object_t *linktgt, glfs_object_t *parent, const char *name);
int glfs_h_rename(glfs_t *fs, glfs_object_t *olddir, const char *oldname, glfs_object_t *newdir, const char *newname);
int glfs_h_readlink(glfs_t *fs, glfs_object_t *object, char *buf, size_t bufsiz);
int glfs_h_stat(glfs_t *fs, glfs_object_t *object, struct stat *stat);
int glfs_h_setattrs(glfs_t *fs, glfs_object_t *object, struct stat *sb, int valid);
int glfs_h_statfs(glfs_t *fs, glfs_object_t *object, struct statvfs *stat);
int glfs_h_getxattrs(glfs_t *fs, glfs_object_t *object, const char *name, void *value, size_t size);
int glfs_h_setxattrs(glfs_t *fs, glfs_object_t *object, const char *name, const void *value, size_t size, int flags);
int glfs_h_removexattrs(glfs_t *fs, glfs_object_t *object, const char *name);
glfs_fd_t *glfs_h_open(glfs_t *fs, glfs_object_t *object, int flags);
glfs_fd_t *glfs_h_opendir(glfs_t *fs, glfs_object_t *object);

int glfs_close(glfs_fd_t *fd);
int glfs_closedir(glfs_fd_t *fd);
int glfs_fstat(glfs_fd_t *fd, struct stat *buf);
int glfs_ftruncate(glfs_fd_t *fd, int64_t length, struct glfs_stat *prestat, struct glfs_stat *poststat);
int glfs_fsync(glfs_fd_t *fd, struct glfs_stat *prestat, struct glfs_stat *poststat);
int glfs_fallocate(glfs_fd_t *fd, int keep_size, int64_t offset, size_t len);
int glfs_discard(glfs_fd_t *fd, int64_t offset, size_t len);
int glfs_zerofill(glfs_fd_t *fd, int64_t offset, int64_t len);
int64_t glfs_lseek(glfs_fd_t *fd, int64_t offset, int whence);
int glfs_readdirplus_r(glfs_fd_t *fd, struct stat *stat, struct dirent *dirent, struct dirent **result);
int glfs_xreaddirplus_r(glfs_fd_t *fd, uint32_t flags, glfs_xreaddirp_stat_t **xstat, struct dirent *dirent,
                        struct dirent **result);
struct stat *glfs_xreaddirplus_get_stat(glfs_xreaddirp_stat_t *xstat);
glfs_object_t *glfs_xreaddirplus_get_object(glfs_xreaddirp_stat_t *xstat);
int glfs_fd_set_lkowner(glfs_fd_t *glfd, void *data, int len);
int glfs_posix_lock(glfs_fd_t *fd, int cmd, struct flock *flock);

int glfs_pread_async(glfs_fd_t *fd, void *buf, size_t count, int64_t offset, int flags, glfs_io_cbk fn, void *data);
int glfs_pwrite_async(glfs_fd_t *fd, const void *buf, int count, int64_t offset, int flags, glfs_io_cbk fn,
                      void *data);
int glfs_fsync_async(glfs_fd_t *fd, glfs_io_cbk fn, void *data);
int glfs_fdatasync_async(glfs_fd_t *fd, glfs_io_cbk fn, void *data);

int glfs_upcall_register(glfs_t *fs, uint32_t event_list, glfs_upcall_cbk cbk, void *data);
int glfs_upcall_unregister(glfs_t *fs, uint32_t event_list);
int glfs_upcall_get_reason(glfs_upcall_t *arg);
void *glfs_upcall_get_event(glfs_upcall_t *arg);
glfs_object_t *glfs_upcall_inode_get_object(glfs_upcall_inode_t *arg);
glfs_object_t *glfs_upcall_inode_get_pobject(glfs_upcall_inode_t *arg);
glfs_object_t *glfs_upcall_inode_get_oldpobject(glfs_upcall_inode_t *arg);
uint64_t glfs_upcall_inode_get_flags(glfs_upcall_inode_t *arg);
"""
"""What is used of the library. Kinds of the system stand here as what they are on Linux."""

_TYPES: Final = """
typedef struct glfs glfs_t;
typedef struct glfs_fd glfs_fd_t;
typedef struct glfs_object glfs_object_t;
typedef struct glfs_upcall glfs_upcall_t;
typedef struct glfs_upcall_inode glfs_upcall_inode_t;
typedef struct glfs_xreaddirp_stat glfs_xreaddirp_stat_t;
struct stat { unsigned char bytes[144]; };
struct statvfs { unsigned char bytes[112]; };
struct flock { unsigned char bytes[32]; };
struct dirent { uint64_t d_ino; int64_t d_off; unsigned short d_reclen; unsigned char d_type; char d_name[256]; };
struct glfs_stat;
typedef void (*glfs_io_cbk)(glfs_fd_t *fd, ssize_t ret, struct glfs_stat *prestat, struct glfs_stat *poststat,
                            void *data);
typedef void (*glfs_upcall_cbk)(glfs_upcall_t *up_arg, void *data);
"""


class StatForm(NamedTuple):
    """How struct stat is laid out: a form that gives dev, ino, nlink, mode, uid, gid, size, blocks and three times.

    `order`: where in what it gives mode and nlink are. The offsets are for writing: those of mode, uid, gid and the
    times of access and of writing.
    """

    unpack: Struct
    nlink: int
    mode: int
    mode_at: int
    uid_at: int
    gid_at: int
    atime_at: int
    mtime_at: int


STAT_FORMS: Final = {
    "x86_64": StatForm(Struct("=QQQIII4x8xq8xqqqqqqq"), 2, 3, 24, 28, 32, 72, 88),
    "aarch64": StatForm(Struct("=QQIIII8x8xq8xqqqqqqq"), 3, 2, 16, 24, 28, 72, 88),
}
STATVFS: Final = Struct("=QQQQQQQ")  # f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree
FLOCK: Final = Struct("=hh4xqqi4x")  # l_type, l_whence, l_start, l_len, l_pid
TIME: Final = Struct("=qq")
NUMBER: Final = Struct("=I")

_SECOND: Final = 1_000_000_000
_BLOCK: Final = 512


class Gfapi(NamedTuple):
    """The library, what cffi knows of it, and how its struct stat is read."""

    lib: Any
    ffi: FFI
    form: StatForm


def declared() -> FFI:
    """What the library has, for cffi."""
    ffi = FFI()
    ffi.cdef(_TYPES + FUNCTIONS)
    return ffi


@functools.cache
def gfapi() -> Gfapi:
    """The library of this machine. OSError(ENOSYS) says what is missing: a package, or a machine that is known."""
    machine = platform.machine()
    if machine not in STAT_FORMS:
        raise OSError(errno.ENOSYS, f"the structures of libgfapi on {machine} are not known")
    ffi = declared()
    try:
        lib = ffi.dlopen(ctypes.util.find_library("gfapi") or LIBRARY)
    except OSError as error:
        raise OSError(errno.ENOSYS, f"{LIBRARY} is not there (Debian: apt install libgfapi0): {error}") from error
    return Gfapi(lib, ffi, STAT_FORMS[machine])


# What the library says where the contract with modules has another word.
_SAME: Final = {
    errno.EBADFD: errno.EBADF,
    errno.EREMOTE: errno.ENOTCONN,
    errno.ECONNREFUSED: errno.ENOTCONN,
    errno.ECONNRESET: errno.ENOTCONN,
    errno.EFAULT: errno.EIO,
    0: errno.EIO,
}


def error_of(number: int, path: str | bytes | None = None) -> OSError:
    """The OSError of an error number of the library, in the words of the contract."""
    number = _SAME.get(number, number)
    return OSError(number, os.strerror(number), *(() if path is None else (path,)))


def file_stat(form: StatForm, raw: Any) -> FileStat:
    """What a struct stat says; `raw` is a buffer of its bytes. A volume tells no time of birth."""
    found = form.unpack.unpack_from(raw)
    dev, ino, _, _, uid, gid, size, blocks, a, a_ns, m, m_ns, c, c_ns = found
    return FileStat(
        dev,
        ino,
        found[form.mode],
        found[form.nlink],
        uid,
        gid,
        size,
        blocks * _BLOCK,
        a * _SECOND + a_ns,
        m * _SECOND + m_ns,
        c * _SECOND + c_ns,
        None,
    )


def time_bytes(nanoseconds: int) -> bytes:
    """A struct timespec."""
    return TIME.pack(*divmod(nanoseconds, _SECOND))


__all__ = ["Gfapi", "StatForm", "declared", "error_of", "file_stat", "gfapi", "time_bytes"]
