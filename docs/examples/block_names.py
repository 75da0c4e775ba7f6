"""Refuses names that nobody should put on this share."""

from errno import EACCES

from lamina.vfs_modules.module import ModuleOptions, VfsModule


class BlockNames(VfsModule):
    name = "block_names"

    class Options(ModuleOptions):
        endings: tuple[str, ...] = (".exe", ".scr")

    def _check(self, path):
        if path.lower().endswith(self.options.endings):
            raise PermissionError(EACCES, "files of this kind are not wanted here", path)

    def open(self, token, directory, path, how):
        if how.create:
            self._check(path)
        return self.next.open(token, directory, path, how)

    def rename(self, token, source_directory, source, target_directory, target, replace):
        self._check(target)
        return self.next.rename(token, source_directory, source, target_directory, target, replace)
