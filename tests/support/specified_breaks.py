"""What each operation takes from every grant, as the specification has it. For tests only.

Written from MS-FSA 2.1.4.12 Algorithm to Check for an Oplock Break and MS-SMB2 3.3.1.4 Algorithm for Leasing in an
Object Store, not from the code, by the names that the operations have in `lamina.ntfsa.grants.caching`.
"""

from typing import Final, NamedTuple

HOLDERS: Final = ("II", "exclusive", "batch", "lease R", "lease RH", "lease RW", "lease RWH")

# For each operation of somebody else: what becomes of the grants of HOLDERS.
#   .     nothing                        what is left, or 0 for nothing:  R    it is told, and that is all
#   R?    its answer is awaited, and the operation goes on          R!    the operation waits for the answer
# A batch oplock is gone before somebody else has a file open who could change its security or delete it. A local
# program is outside of all pages: nobody can tell what it will do, so everything is given up before it opens.
_ROWS: Final = {
    #                     II   exclusive  batch  R    RH    RW    RWH
    "OPEN": """           .    R!         R!     .    .     R!    RH!""",
    "OVERWRITE": """      0    0!         0!     0    0?    0!    0!""",
    "OPEN_BATCH": """     .    .          R!     .    .     .     .""",
    "OVERWRITE_BATCH": """.    .          0!     .    .     .     .""",
    "SHARING_CONFLICT": """.   .          0!     .    R!    .     RW!""",
    "CHANGE_DATA": """    0    0!         0!     0    0?    0!    0!""",
    "LOCK": """           0    0!         0!     0    0?    0!    0!""",
    "CHANGE_NAME": """    .    .          0!     .    R!    .     RW!""",
    "CHANGE_SECURITY": """.    .          0!     .    R!    .     RW!""",
    "CLOSE_DELETING": """ .    .          0?     .    R?    .     RW?""",
    "OUTSIDE_OPEN": """   0    0!         0!     0    0!    0!    0!""",
    "CHANGE_ENTRY": """   0    0?         0?     0    0?    0?    0?""",
}


class Verdict(NamedTuple):
    """What becomes of a grant: the letters of the rights that are left, whether it must answer, who waits for that."""

    left: str
    answered: bool
    waits: bool


def _verdict(cell: str) -> Verdict | None:
    return None if cell == "." else Verdict(cell.strip("0?!"), cell[-1] in "?!", cell[-1] == "!")


WHAT_IS_LEFT: Final[dict[str, dict[str, Verdict | None]]] = {
    operation: {holder: _verdict(cell) for holder, cell in zip(HOLDERS, row.split(), strict=True)}
    for operation, row in _ROWS.items()
}
"""Operation, then holder; None where the grant is left alone."""
