"""Names: what stands under which name in a directory."""

from lamina.vfs_modules.handle import VfsHandle
from lamina.vfs_modules.operations.table import Target, operation, unsupported
from lamina.vfs_modules.operations.values import FileStat
from lamina.vfs_modules.token import ImpersonationToken


class Names:
    """The operations on names beneath a directory handle, which neither need nor make a handle of the file itself."""

    @operation(Target.PATH)
    def stat(self, token: ImpersonationToken, directory: VfsHandle, path: str, follow: bool = False) -> FileStat:
        """Look at what `path` names without opening it.

        Arguments: `directory` and `path` as for `open`; `follow`: look at what a symbolic link leads to instead of at
          the link.
        Answer: the stat.
        Errors: ENOENT, ENOTDIR, EACCES, ELOOP, EXDEV, ENAMETOOLONG.
        Waits: where the storage is remote.
        Overlaps: with everything.
        May assume: nothing: it is asked for names that may not be there, and often.
        Default: ENOTSUP; a backend must implement it.
        """
        unsupported("stat")

    @operation(Target.PATH, mutates=True)
    def mkdir(self, token: ImpersonationToken, directory: VfsHandle, path: str, mode: int) -> None:
        """Make a directory.

        Arguments: `path` beneath `directory`, of which all but the last component is there; `mode`: its permission
          bits, which the storage may narrow.
        Errors: EEXIST where the name is taken, ENOENT, ENOTDIR, EACCES, ENAMETOOLONG, ENOSPC, EDQUOT, EROFS.
        Waits: where the storage is remote.
        Overlaps: with everything; of two for one name one gets EEXIST.
        May assume: the client may add a directory here, as far as stored descriptors say.
        Default: ENOTSUP.
        """
        unsupported("mkdir")

    @operation(Target.PATH, mutates=True)
    def unlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove a name that is not a directory's.

        Handles of the file stay good, and its data stays as long as there is one, or another name.

        Arguments: `path` beneath `directory`; a symbolic link is removed itself.
        Errors: ENOENT; EISDIR or EPERM for a directory; EACCES, EBUSY, EROFS.
        Waits: where the storage is remote, or much is to be freed.
        Overlaps: with everything.
        May assume: the client may delete the file, and no open of the share denies it.
        Default: ENOTSUP.
        """
        unsupported("unlink")

    @operation(Target.PATH, mutates=True)
    def rmdir(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> None:
        """Remove an empty directory.

        Arguments: `path` beneath `directory`.
        Errors: ENOTEMPTY; ENOENT; ENOTDIR for anything else than a directory; EACCES, EBUSY, EROFS.
        Waits: where the storage is remote.
        Overlaps: with everything; a name that comes into the directory meanwhile makes it ENOTEMPTY or is ENOENT.
        May assume: the client may delete the directory.
        Default: ENOTSUP.
        """
        unsupported("rmdir")

    @operation(Target.PATH, mutates=True)
    def rename(
        self,
        token: ImpersonationToken,
        source_directory: VfsHandle,
        source: str,
        target_directory: VfsHandle,
        target: str,
        replace: bool,
    ) -> None:
        """Give a file or directory another name, atomically: whoever looks finds the old one or the new one.

        Handles of it, and of what is beneath it, stay good.

        Arguments: `source` beneath `source_directory`, `target` beneath `target_directory`, two handles that may be of
          one directory; `replace`: an existing target goes.
        Errors: EEXIST without `replace`, and then the target is untouched; ENOENT; EINVAL for a directory into itself;
          ENOTEMPTY, EISDIR or ENOTDIR for a target of the wrong kind; EXDEV between file systems; EACCES, EBUSY,
          ENAMETOOLONG, ENOSPC, EROFS.
        Waits: where the storage is remote.
        Overlaps: with everything; of two for one name the later one sees what the earlier one did.
        May assume: the client may delete the source, add the target, and delete a target that is replaced; nobody else
          of the share has that open.
        Default: ENOTSUP.
        """
        unsupported("rename")

    @operation(Target.PATH, mutates=True)
    def link(self, token: ImpersonationToken, handle: VfsHandle, directory: VfsHandle, path: str) -> None:
        """Give a file a further name (HARD_LINKS).

        Arguments: `handle` of the file, not of a directory, open for PATH or more; `path` beneath `directory`.
        Errors: EEXIST where the name is taken; EMLINK; EPERM for a directory, or where the storage has no further
          names; EXDEV, ENOENT, EACCES, ENOSPC, EROFS.
        Waits: where the storage is remote.
        Overlaps: with everything.
        May assume: the client may add a file here.
        Default: ENOTSUP.
        """
        unsupported("link")

    @operation(Target.PATH, mutates=True)
    def symlink(self, token: ImpersonationToken, target: str, directory: VfsHandle, path: str) -> None:
        """Make a symbolic link (SYMLINKS).

        Arguments: `target`: what it holds, as it is given, wherever that leads; `path` beneath `directory`.
        Errors: EEXIST where the name is taken; ENAMETOOLONG also for a target that is too long; ENOENT, EACCES, ENOSPC,
          EROFS.
        Waits: where the storage is remote.
        Overlaps: with everything.
        May assume: the client may add a file here. That a link leads out of the share is no harm: `open` does not
          follow it.
        Default: ENOTSUP.
        """
        unsupported("symlink")

    @operation(Target.PATH)
    def readlink(self, token: ImpersonationToken, directory: VfsHandle, path: str) -> str:
        """What a symbolic link holds (SYMLINKS).

        Arguments: `path` beneath `directory`.
        Answer: the target as it was given to `symlink`, or by a local program.
        Errors: EINVAL for anything but a link; ENOENT, ENOTDIR, EACCES.
        Waits: where the storage is remote.
        Overlaps: with everything.
        May assume: nothing.
        Default: ENOTSUP.
        """
        unsupported("readlink")
