"""The options of `quota`. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lamina.vfs_modules.module import ModuleOptions
from lamina.vfs_modules.stock.accounting.ledger import Limits


class Allowance(BaseModel):
    """What somebody may have, in bytes: a number is the hard limit, or a table has `soft` and `hard`; 0: any amount."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    soft: int = Field(default=0, ge=0)
    hard: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"hard": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hard and self.soft > self.hard:
            raise ValueError("the soft limit is above the hard one")
        return self

    def limits(self) -> Limits:
        """The same as the ledger has it."""
        return Limits(self.soft or None, self.hard or None)


def _by_text(value: Any) -> Any:
    return {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else value


Allowances = Annotated[dict[str, Allowance], BeforeValidator(_by_text)]

NOTHING = Allowance()


class QuotaOptions(ModuleOptions):
    """Options of `quota`; limits are bytes, or tables of `soft` and `hard`, and 0 is none."""

    default_user: Allowance = Field(
        default=NOTHING, description="what each user may have who is not named (nor is root)"
    )
    default_group: Allowance = Field(default=NOTHING, description="what each group may have that is not named")
    users: Allowances = Field(default_factory=dict, description="what users may have, by name or number")
    groups: Allowances = Field(default_factory=dict, description="what groups may have, by name or number")
    share: Allowance = Field(default=NOTHING, description="what all files of the share may have together")
    grace: float = Field(default=7.0, ge=0, description="days for which a soft limit may be passed")
    count: Literal["always", "needed"] = Field(
        default="always",
        description='when all files are counted: at each start, as local programs may have changed some, or "needed": '
        "when nothing is known, or the server was killed",
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="folders in the root of the share whose files are nobody's, such as snapshots"
    )
