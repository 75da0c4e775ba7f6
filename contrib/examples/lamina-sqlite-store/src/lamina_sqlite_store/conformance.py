"""The profile that the conformance suite judges this by: `lamina module test sqlite_store`."""

from pathlib import Path

from lamina.vfs_modules.testing.profile import Profile

from lamina_sqlite_store.module import SqliteStoreBackend, SqliteStoreBackendOptions


def make(folder: Path) -> list[SqliteStoreBackend]:
    """The backend over a database in the folder: the same share whenever it is made there."""
    return [SqliteStoreBackend(SqliteStoreBackendOptions(database=f"{folder}/files.db"))]


profile = Profile("sqlite_store", make, crash="lamina_sqlite_store.conformance:profile")
