"""The base of the models of the configuration's tables."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the file: strict, immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
