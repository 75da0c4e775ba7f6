"""What a chain can do, in the words that a backend claims it with and clients are told."""

from enum import Flag, auto


class Capability(Flag):
    """What a chain can do. A backend states what it has; modules above mask or add.

    The protocol layer advertises exactly these (MS-FSCC 2.5.1 FileFsAttributeInformation and the share's
    capabilities), so a capability that is claimed is a promise to clients. MODE_IGNORED is one to ntfsa: where it has
    granted access nobody below asks the mode of a file again, so descriptors need not be mapped to it. POSIX_ACLS is
    another: files have POSIX ACLs, as the extended attributes system.posix_acl_*, that are to be kept in step. So are
    LISTS_AS_GIVEN (a client that sets a list may say that it is inherited) and the two of default lists: what a new
    file gets that inherits nothing.
    """

    CASE_SENSITIVE = auto()
    HARD_LINKS = auto()
    SYMLINKS = auto()
    XATTRS = auto()
    DOS_ATTRIBUTES = auto()
    CREATION_TIME = auto()
    SECURITY = auto()
    STREAMS = auto()
    SPARSE = auto()
    REFLINK = auto()
    QUOTAS = auto()
    OBJECT_IDS = auto()
    SNAPSHOTS = auto()
    WATCH = auto()
    DURABLE_HANDLES = auto()
    PERSISTENT_HANDLES = auto()
    CONTINUOUS_AVAILABILITY = auto()
    MODE_IGNORED = auto()
    COMPRESSION = auto()
    CHANGE_TIME = auto()
    WATCH_CHANGES = auto()
    RANGE_LOCKS = auto()
    LEASES = auto()
    POSIX_ACLS = auto()
    LISTS_AS_GIVEN = auto()
    DEFAULT_LIST_OF_MODE = auto()
    DEFAULT_LIST_FOR_EVERYONE = auto()
