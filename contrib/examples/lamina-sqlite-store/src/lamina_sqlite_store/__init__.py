"""The backend `sqlite_store` for shares of Lamina."""

from lamina_sqlite_store.module import (
    SqliteStoreBackend,
    SqliteStoreBackendOptions,
)

__all__ = ["SqliteStoreBackend", "SqliteStoreBackendOptions"]
