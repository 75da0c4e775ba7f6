"""The module `deny_names` for shares of Lamina."""

from lamina_deny_names.module import (
    DenyNamesModule,
    DenyNamesModuleOptions,
)

__all__ = ["DenyNamesModule", "DenyNamesModuleOptions"]
