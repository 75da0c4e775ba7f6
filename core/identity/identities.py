"""The map between SIDs and POSIX ids of a server: its accounts', what is decreed, ranges of domains, and the Unix SIDs.

It is the identity map of ntfsa (owners, access lists, quotas) and names whom share access lists mean. Asked for what
is decreed, calculated or allocated it answers from memory; the name service alone may keep a request waiting.
"""

from typing import Final

from lamina.core.auth.account import AccountStore
from lamina.core.identity.name_service import NameService, NameServiceError
from lamina.core.identity.ranges import id_of_rid, rid_of, sid_of_id
from lamina.core.identity.settings import DomainSettings, IdentitySettings
from lamina.core.identity.store import IdStore
from lamina.ntfsa.security.identities import unix_group_sid, unix_user_sid

DOMAIN_GROUPS: Final = {"domain admins": 512, "domain users": 513, "domain guests": 514, "domain computers": 515}
"""Groups that every domain has, by the names that people write, and their relative ids (MS-DTYP 2.4.2.4)."""


class Identities:
    """The map. `accounts` are asked as they are; the settings may change while it is used."""

    def __init__(
        self,
        accounts: AccountStore,
        settings: IdentitySettings | None = None,
        names: NameService | None = None,
    ) -> None:
        """Raises OSError where the file of ids cannot be used."""
        self.accounts = accounts
        self.names = names or NameService()
        self._store: IdStore | None = None
        self.apply(settings or IdentitySettings())

    def prepare(self, settings: IdentitySettings) -> None:
        """Open what `apply` would have to open. Raises OSError."""
        if self._store is None and any(domain.method != "rid" for domain in settings.domains):
            self._store = IdStore(settings.store)

    def apply(self, settings: IdentitySettings) -> None:
        """Use other settings from now on; another file of ids takes a restart. Raises OSError."""
        self.prepare(settings)
        self.settings = settings
        self._is_plain = not settings.maps_something
        self.names.timeout, self.names.cache = settings.timeout, settings.cache
        self.names.cache_unknown, self.names.cache_entries = settings.cache_unknown, settings.cache_entries
        self._uids, self._gids = dict(settings.users), dict(settings.groups)
        self._sid_of_uid = {uid: sid for sid, uid in settings.users.items()}
        self._sid_of_gid = {gid: sid for sid, gid in settings.groups.items()}
        self._domains = {domain.sid: domain for domain in settings.domains if domain.sid}
        self._ranges = tuple(domain for domain in settings.domains if domain.method == "rid")

    def close(self) -> None:
        """Close the file of ids."""
        if self._store is not None:
            self._store.close()

    @property
    def machine_sid(self) -> str:
        """See AccountStore."""
        return self.accounts.machine_sid

    # -- the map of ntfsa

    def sid_of_uid(self, uid: int) -> str:
        """See IdentityMap."""
        if self._is_plain:
            return self.accounts.sid_of_uid(uid)
        decreed = self._sid_of_uid.get(uid)
        if decreed is not None:
            return decreed
        sid = self.accounts.sid_of_uid(uid)
        return self._sid_in_domains(uid) or sid if sid == unix_user_sid(uid) else sid

    def sid_of_gid(self, gid: int) -> str:
        """See IdentityMap."""
        if self._is_plain:
            return self.accounts.sid_of_gid(gid)
        decreed = self._sid_of_gid.get(gid)
        if decreed is not None:
            return decreed
        sid = self.accounts.sid_of_gid(gid)
        return self._sid_in_domains(gid) or sid if sid == unix_group_sid(gid) else sid

    def uid_of_sid(self, sid: str) -> int | None:
        """See IdentityMap."""
        if self._is_plain:
            return self.accounts.uid_of_sid(sid)
        uid = self._uids.get(sid)
        if uid is None:
            uid = self.accounts.uid_of_sid(sid)
        return uid if uid is not None or sid in self._gids else self._id_in_domains(sid)

    def gid_of_sid(self, sid: str) -> int | None:
        """See IdentityMap."""
        if self._is_plain:
            return self.accounts.gid_of_sid(sid)
        gid = self._gids.get(sid)
        if gid is None:
            gid = self.accounts.gid_of_sid(sid)
        return gid if gid is not None or sid in self._uids else self._id_in_domains(sid)

    def _sid_in_domains(self, number: int) -> str | None:
        for domain in self._ranges:
            found = sid_of_id(domain, number)
            if found is not None:
                return found
        return self._store.sid_of(number) if self._store is not None else None

    def _id_in_domains(self, sid: str) -> int | None:
        domain = self.domain_of(sid)
        if domain is not None and domain.method == "rid":
            return id_of_rid(domain, rid_of(domain.sid, sid) or 0)
        return self._store.id_of(sid) if self._store is not None else None

    # -- domains

    def domain_of(self, sid: str) -> DomainSettings | None:
        """The domain that a SID is of, if it is configured."""
        return self._domains.get(sid.rpartition("-")[0])

    def domain_of_realm(self, realm: str) -> DomainSettings | None:
        """The domain whose users have principals of this realm, if it is configured."""
        wanted = realm.lower()
        return next((one for one in self.settings.domains if one.realm and one.realm.lower() == wanted), None)

    def domain_called(self, name: str) -> DomainSettings | None:
        """The domain of this NetBIOS name, if it is configured."""
        wanted = name.lower()
        return next((one for one in self.settings.domains if one.name.lower() == wanted), None)

    def take_id(self, sid: str) -> int | None:
        """The id of a SID that an authority has named; one is allocated where the domain wants that.

        May take its time: not for the event loop. Raises OSError where it cannot be written, or the range is full.
        """
        known = self._id_in_domains(sid)
        domain = self.domain_of(sid)
        if known is not None or domain is None or domain.method != "allocate" or self._store is None:
            return known
        return self._store.allocate(sid, domain.name, domain.low, domain.high)

    def bind(self, sid: str, uid: int, domain: DomainSettings) -> None:
        """Note that the name service has a user with this SID under that uid. Raises OSError."""
        if self._store is not None:
            self._store.bind(sid, uid, domain.name)

    # -- names

    def sid_of_name(self, name: str) -> str | None:
        r"""The SID of an account, a group, a well-known group of a domain (DOM\Domain Users), or a system's name.

        A name service that does not answer knows nobody.
        """
        sid = self.accounts.sid_of_name(name)
        if sid is not None:
            return sid
        domain, _, group = name.partition("\\")
        known = self.domain_called(domain)
        if known is not None and known.sid and group.lower() in DOMAIN_GROUPS:
            return f"{known.sid}-{DOMAIN_GROUPS[group.lower()]}"
        return self._system_sid(name) if self.settings.name_service else None

    def _system_sid(self, name: str) -> str | None:
        try:
            user = self.names.user(name)
            if user is not None:
                return self.sid_of_uid(user.uid)
            group = self.names.group(name)
        except NameServiceError:
            return None
        return self.sid_of_gid(group.gid) if group is not None else None

    def groups_of_uid(self, uid: int, gid: int) -> tuple[int, ...]:
        """The gids of the groups that the system has for a uid, `gid` at least."""
        try:
            user = self.names.user_of_uid(uid)
            return self.names.groups(user.name, gid) if user is not None else (gid,)
        except NameServiceError:
            return (gid,)
