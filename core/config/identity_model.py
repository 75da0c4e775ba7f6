"""`[identity]`: how SIDs and POSIX ids go together, as it stands in the configuration file."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from lamina.core.config.table import Table
from lamina.core.identity.settings import DomainSettings, IdentitySettings
from lamina.ntfsa.security.sid import pack_sid
from lamina.ntfsa.status import NtStatusError

MAX_ID: Final = 0xFFFFFFFE
STORE: Final = "identities.db"
_RANGE: Final = re.compile(r"(\d{1,10}) ?- ?(\d{1,10})")
_DEFAULTS: Final = IdentitySettings()


def check_sid(text: str) -> str:
    """A SID as it is written here; ValueError where it is none."""
    try:
        pack_sid(text)
    except NtStatusError:
        raise ValueError(f'must be a SID such as "S-1-5-21-1-2-3-1000", not {text!r}') from None
    return text.upper().replace("X", "x")


def parse_range(value: object) -> object:
    """The first and last id of "LOW-HIGH". Raises ValueError."""
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a range of ids, such as "100000-199999"')
    low, high = int(match[1]), int(match[2])
    if not 0 < low <= high <= MAX_ID:
        raise ValueError(f"must go from 1 or more up, to {MAX_ID} at most")
    return low, high


Sid = Annotated[StrictStr, AfterValidator(check_sid)]
_Id = Annotated[StrictInt, Field(gt=0, le=MAX_ID)]
_Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


def _user_name(template: str) -> str:
    if "%U" not in template:
        raise ValueError("must have %U in it, which stands for the user")
    unknown = set(re.findall(r"%(.?)", template)) - {"U", "D"}
    if unknown:
        raise ValueError(f"there is no substitution %{min(unknown)} here (%U, %D)")
    return template


class DomainTable(Table):
    """`[identity.domain.NAME]`: users and groups of one Windows domain."""

    sid: Sid | None = None
    realm: StrictStr = ""
    method: Literal["rid", "allocate", "nss"] = "rid"
    range: Annotated[tuple[int, int], BeforeValidator(parse_range)] | None = None
    base_rid: Annotated[StrictInt, Field(ge=0, le=0xFFFFFFFF)] = 0
    user_name: Annotated[StrictStr, AfterValidator(_user_name)] = DomainSettings("").user_name
    administrators: StrictBool = False


class IdentityTable(Table):
    """`[identity]`."""

    name_service: StrictBool = True
    name_service_timeout: _Seconds = _DEFAULTS.timeout
    cache_seconds: _Seconds = _DEFAULTS.cache
    cache_unknown_seconds: _Seconds = _DEFAULTS.cache_unknown
    users: dict[Sid, _Id] = Field(default_factory=dict)
    groups: dict[Sid, _Id] = Field(default_factory=dict)
    domain: dict[Annotated[str, Field(pattern=r"^[^\\/+@\x00-\x1f]{1,64}$")], DomainTable] = Field(default_factory=dict)

    def settings(self, state: Path) -> IdentitySettings:
        """These settings as the rest sees them; allocated ids are kept in the folder `state`."""
        return IdentitySettings(
            domains=tuple(_domain(name, table) for name, table in self.domain.items()),
            users=self.users,
            groups=self.groups,
            name_service=self.name_service,
            timeout=self.name_service_timeout,
            cache=self.cache_seconds,
            cache_unknown=self.cache_unknown_seconds,
            store=str(state / STORE),
        )


def _domain(name: str, table: DomainTable) -> DomainSettings:
    low, high = table.range or (0, 0)
    return DomainSettings(
        name=name,
        sid=table.sid or "",
        realm=table.realm,
        method=table.method,
        low=low,
        high=high,
        base_rid=table.base_rid,
        user_name=table.user_name,
        administrators=table.administrators,
    )
