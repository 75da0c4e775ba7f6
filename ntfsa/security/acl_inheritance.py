"""The descriptor of a new file: what it is given, what its parent passes on (MS-DTYP 2.5.3.4 CreateSecurityDescriptor).

For storages that keep access control lists; files with only a mode have no inheritance.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from lamina.ntfsa import constants as c
from lamina.ntfsa.security.default_lists import default_list
from lamina.ntfsa.security.security_descriptor import (
    CONTAINER_INHERIT_ACE,
    INHERIT_ONLY_ACE,
    INHERITED_ACE,
    NO_PROPAGATE_INHERIT_ACE,
    OBJECT_INHERIT_ACE,
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SACL_AUTO_INHERITED,
    SE_SACL_PRESENT,
    SE_SACL_PROTECTED,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
)
from lamina.ntfsa.security.sid import CREATOR_GROUP, CREATOR_OWNER
from lamina.vfs_modules.operations.capability import Capability

_INHERITANCE: Final = OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE | NO_PROPAGATE_INHERIT_ACE | INHERIT_ONLY_ACE
_PASSED_ON: Final = OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE
_GENERIC: Final = c.GENERIC_READ | c.GENERIC_WRITE | c.GENERIC_EXECUTE | c.GENERIC_ALL
_NOTHING: Final = SecurityDescriptor()


class Creator(NamedTuple):
    """Whose a new file is; `style` and `mode` say what its list is where it is given none and inherits none."""

    owner: str
    group: str
    style: Capability = Capability(0)
    mode: int = 0


def create_descriptor(
    parent: SecurityDescriptor | None, given: SecurityDescriptor | None, creator: Creator, is_directory: bool
) -> SecurityDescriptor:
    """The descriptor of a new file in a directory with descriptor `parent`, `given` one by its creator or not."""
    given = given or _NOTHING
    creator = creator._replace(owner=given.owner or creator.owner, group=given.group or creator.group)
    control = SE_SELF_RELATIVE
    dacl, dacl_control = _new_dacl(parent, given, creator, is_directory)
    protected = given.control & SE_SACL_PROTECTED
    marked = parent is not None and parent.control & SE_SACL_AUTO_INHERITED
    inherited = _inherited(parent.sacl if parent else None, bool(marked), creator, is_directory, protected)
    sacl = _joined(given.sacl, inherited, creator)
    if sacl is not None:
        control |= SE_SACL_PRESENT | (protected or (SE_SACL_AUTO_INHERITED if marked else 0))
    return SecurityDescriptor(creator.owner, creator.group, dacl, sacl, control | dacl_control)


def _new_dacl(
    parent: SecurityDescriptor | None, given: SecurityDescriptor, creator: Creator, is_directory: bool
) -> tuple[Acl | None, int]:
    if given.control & SE_DACL_PRESENT and given.dacl is None:
        return None, SE_DACL_PRESENT | given.control & SE_DACL_PROTECTED
    protected = given.control & SE_DACL_PROTECTED
    marked = parent is not None and parent.control & SE_DACL_AUTO_INHERITED
    inherited = _inherited(parent.dacl if parent else None, bool(marked), creator, is_directory, protected)
    joined = _joined(given.dacl, inherited, creator)
    if joined is None:
        # That it is the default is not kept: nothing asks, and Samba does not tell of it either (vfs.acl_xattr).
        return default_list(creator.style, creator.owner, creator.group, creator.mode), SE_DACL_PRESENT
    return joined, SE_DACL_PRESENT | (protected or (SE_DACL_AUTO_INHERITED if marked else 0))


def _inherited(parent: Acl | None, marked: bool, creator: Creator, is_directory: bool, protected: int) -> Acl | None:
    """What comes from the parent's list; its entries are marked as inherited only if the parent inherits automatically.

    That is how clients tell lists that follow their parents from those that were once copied (smb2.acls.INHERITFLAGS).
    """
    aces = () if parent is None or protected else inherited_aces(parent, creator, is_directory)
    if parent is None or not aces:
        return None
    if not marked:
        aces = tuple(ace._replace(flags=ace.flags & ~INHERITED_ACE) for ace in aces)
    return Acl(aces, parent.revision)


def _joined(given: Acl | None, inherited: Acl | None, creator: Creator) -> Acl | None:
    """The explicit entries, then the inherited ones; None if there is neither."""
    if given is None:
        return inherited
    explicit = (ace for ace in given.aces if not ace.flags & INHERITED_ACE)
    own = tuple(effective for ace in explicit for effective in _made_effective(ace, creator))
    return Acl((*own, *(inherited.aces if inherited else ())), given.revision)


def passes_on(parent: SecurityDescriptor, is_directory: bool) -> bool:
    """Whether a new file or directory inherits anything from `parent`."""
    wanted = _PASSED_ON if is_directory else OBJECT_INHERIT_ACE
    return any(ace.flags & wanted for acl in (parent.dacl, parent.sacl) if acl for ace in acl.aces)


def inherited_aces(parent: Acl, creator: Creator, is_directory: bool) -> tuple[Ace, ...]:
    """What a new file or directory inherits from its parent's list (MS-DTYP 2.5.3.4.2)."""
    one = _inherited_by_directory if is_directory else _inherited_by_file
    return tuple(ace for parent_ace in parent.aces for ace in one(parent_ace, creator))


def _inherited_by_file(ace: Ace, creator: Creator) -> Iterator[Ace]:
    if ace.flags & OBJECT_INHERIT_ACE:
        yield _for_creator(ace, ace.flags & ~_INHERITANCE | INHERITED_ACE, creator)


def _inherited_by_directory(ace: Ace, creator: Creator) -> Iterator[Ace]:
    passed_on = 0 if ace.flags & NO_PROPAGATE_INHERIT_ACE else ace.flags & _PASSED_ON
    base = ace.flags & ~_INHERITANCE | INHERITED_ACE
    if ace.flags & CONTAINER_INHERIT_ACE:
        if not _is_template(ace):
            yield ace._replace(flags=base | passed_on)
            return
        # Generic rights and the creator's place are filled in here, and passed on as they are.
        yield _for_creator(ace, base, creator)
        if passed_on:
            yield ace._replace(flags=base | passed_on | INHERIT_ONLY_ACE)
    elif passed_on:
        yield ace._replace(flags=base | passed_on | INHERIT_ONLY_ACE)


def _is_template(ace: Ace) -> bool:
    return bool(ace.mask & _GENERIC) or ace.sid in {CREATOR_OWNER, CREATOR_GROUP}


def _for_creator(ace: Ace, flags: int, creator: Creator) -> Ace:
    sid = {CREATOR_OWNER: creator.owner, CREATOR_GROUP: creator.group}.get(ace.sid, ace.sid)
    return ace._replace(flags=flags, mask=c.map_generic(ace.mask), sid=sid)


def _made_effective(ace: Ace, creator: Creator) -> Iterator[Ace]:
    """An explicit entry, with generic rights and the creator's place filled in for the file itself."""
    if not _is_template(ace) or ace.flags & INHERIT_ONLY_ACE:
        yield ace
        return
    yield _for_creator(ace, ace.flags & ~_INHERITANCE, creator)
    if ace.flags & _PASSED_ON:
        yield ace._replace(flags=ace.flags | INHERIT_ONLY_ACE)
