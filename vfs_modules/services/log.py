"""The log of a module: messages with fields, that say by themselves which module of which share they are from."""

import logging
from typing import Any

from lamina.vfs_modules.services.surroundings import MODULE_LOGGER, Owner


class ModuleLog:
    """What a module logs. Every method takes a message and named fields, which programs find apart from it.

    As text a field stands behind the message ("a file was refused (path='a.exe')"); `log_format = "json"` has it under
    `fields`. Values are shown by `repr`, so that what a client has sent cannot begin a line of its own. A level that is
    not logged costs a comparison.
    """

    __slots__ = ("_logger", "_owner")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._logger = logging.getLogger(f"{MODULE_LOGGER}.{owner.where().module}")

    def debug(self, message: str, **fields: Any) -> None:
        """What only who looks for a fault wants to know."""
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """What an administrator may want to know."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """What an administrator should look at."""
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """What does not work."""
        self._log(logging.ERROR, message, fields)

    def exception(self, message: str, **fields: Any) -> None:
        """An error, with the exception that is being handled."""
        self._log(logging.ERROR, message, fields, exc_info=True)

    def _log(self, level: int, message: str, fields: dict[str, Any], exc_info: bool = False) -> None:
        if not self._logger.isEnabledFor(level):
            return
        where = self._owner.where()
        shown = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        self._logger.log(
            level,
            "share %s: %s%s",
            where.share or "-",
            message,
            f" ({shown})" if shown else "",
            exc_info=exc_info,
            extra={"fields": {"share": where.share, "module": where.module, **fields}},
        )
