"""What Lamina serves itself, so that a module that serves the same is refused when its share is made."""

from lamina.ntfsa import constants as c
from lamina.ntfsa.extensions import PROTOCOL_CONTEXTS, PROTOCOL_CONTROLS, require_free
from lamina.ntfsa.fsctl import fs_control
from lamina.ntfsa.metadata import query_file, query_filesystem, set_file
from lamina.vfs_modules.extensions import Extensions, InfoType, Kind

_OF_FILES = frozenset((InfoType.FILE, info_class) for info_class in query_file.CLASSES)
_OF_VOLUMES = frozenset((InfoType.VOLUME, info_class) for info_class in query_filesystem.CLASSES)
_SETS = frozenset((InfoType.FILE, info_class) for info_class in set_file.CLASSES)
_NEVER_SET = frozenset((InfoType.VOLUME, info_class) for info_class in query_filesystem.NEVER_SET)


def check_extensions(extensions: Extensions) -> None:
    """Raise ModuleError for an extension that would never be asked."""
    if not extensions.all():
        return
    require_free(
        extensions,
        {
            Kind.CONTROL: PROTOCOL_CONTROLS | frozenset(fs_control.CODES),
            Kind.QUERY: _OF_FILES | _OF_VOLUMES | {(InfoType.FILE, c.FILE_FULL_EA_INFORMATION)},
            Kind.SET: _SETS | _NEVER_SET,
            Kind.CREATE_CONTEXT: PROTOCOL_CONTEXTS,
        },
    )
