"""The tables and diagrams of docs/caching.md, made by asking the rules themselves.

    python -m tests.caching.page

writes them anew into the page, between the comments that say where they go. A test fails where the page is stale.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.grants import caching
from lamina.ntfsa.grants.breaking import (
    Break,
    acknowledge_lease,
    acknowledge_oplock,
    break_and_wait,
)
from lamina.ntfsa.grants.caching import OPERATIONS, STATE_OF_LEVEL, Operation
from lamina.ntfsa.grants.granting import LeaseWish, grant_lease, grant_oplock
from lamina.ntfsa.locks.lock_table import Lock, LockTable
from lamina.ntfsa.record import EMPTY_RECORD, STABLE, FileRecord, Grant
from tests.support.granted import (
    FIRST,
    KEY,
    LOOK,
    NOW,
    OTHER_KEY,
    READ,
    RH,
    RW,
    RWH,
    SECOND,
    THIRD,
    R,
    address,
    held,
    leased,
    rights,
    with_open,
)

PAGE: Final = Path(__file__).parents[2] / "docs/caching.md"
_LEVELS: Final = {
    "level II": caching.OPLOCK_LEVEL_II,
    "exclusive": caching.OPLOCK_LEVEL_EXCLUSIVE,
    "batch": caching.OPLOCK_LEVEL_BATCH,
}
_LEVEL_NAMES: Final = {level: name for name, level in _LEVELS.items()} | {0: "none"}
_STATES: Final = (R, RH, RW, RWH)
_HOLDERS: Final = {name: held(level) for name, level in _LEVELS.items()} | {
    f"lease {rights(state)}": leased(state) for state in _STATES
}

_SECTIONS: Final = {
    "OPEN_BATCH": ("MS-FSA 2.1.5.1.2", "an open, before sharing is checked"),
    "OVERWRITE_BATCH": ("MS-FSA 2.1.5.1.2", "the same, overwriting"),
    "SHARING_CONFLICT": ("MS-FSA 2.1.4.12 OPEN_BREAK_H", "an open that would be a sharing violation"),
    "OPEN": ("MS-FSA 2.1.4.12 OPEN", "an open that sharing lets in"),
    "OVERWRITE": ("MS-FSA 2.1.4.12 OPEN", "the same, overwriting"),
    "CHANGE_DATA": ("MS-FSA 2.1.4.12 WRITE, SET_INFORMATION, FS_CONTROL", "write, new size, zeroing"),
    "LOCK": ("MS-FSA 2.1.4.12 LOCK_CONTROL", "byte-range lock"),
    "CHANGE_NAME": ("MS-FSA 2.1.4.12 SET_INFORMATION", "rename, link, deletion; of the file or a directory above"),
    "CHANGE_SECURITY": ("MS-FSA 2.1.4.12 SET_SECURITY", "change of the security descriptor"),
    "CLOSE_DELETING": ("MS-FSA 2.1.5.5", "a close that deletes the file"),
    "OUTSIDE_OPEN": ("none", "an open by a local program"),
    "CHANGE_ENTRY": ("MS-FSA 2.1.4.12 PARENT_OBJECT", "change of an entry of the directory"),
}
"""The page of each operation, and what it is."""


def _name_of(operation: Operation) -> str:
    return next(name for name, value in vars(caching).items() if value is operation)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# -- what is held -----------------------------------------------------------------------------------------------------


def states() -> str:
    """What oplocks and leases are, as sets of rights."""
    oplocks = [(f"oplock {name}", rights(STATE_OF_LEVEL[level]), f"{level:#04x}") for name, level in _LEVELS.items()]
    leases = [
        (f"lease {rights(state)}", rights(state), f"{state:#04x}") for state in sorted(caching.LEASE_STATES) if state
    ]
    return _table(("grant", "rights", "on the wire"), [*oplocks, *leases])


# -- granting ---------------------------------------------------------------------------------------------------------


def _situations() -> dict[str, FileRecord]:
    """What may be there when SECOND, who has just opened the file, asks."""
    alone = with_open(EMPTY_RECORD, SECOND, READ)
    locked = with_open(alone, FIRST)._replace(locks=LockTable.make([Lock(0, 1, FIRST, True)]))
    there = {
        "nobody else": alone,
        "an open for attributes": with_open(alone, FIRST, LOOK),
        "an open that reads the descriptor": with_open(alone, FIRST, c.READ_CONTROL),
        "any other open": with_open(alone, FIRST, READ),
        "an open with byte-range locks": locked,
    }
    return there | {f"of another: {name}": with_open(record, SECOND, READ) for name, record in _HOLDERS.items()}


def granted() -> str:
    """What is granted to a new open, beside what."""
    rows = []
    for name, record in _situations().items():
        oplocks = [
            _LEVEL_NAMES[grant_oplock(record, SECOND, address(SECOND), level).result] for level in _LEVELS.values()
        ]
        leases = [
            rights(grant_lease(record, SECOND, address(SECOND), LeaseWish(OTHER_KEY, state)).result.state)
            for state in _STATES
        ]
        rows.append((name, *oplocks, *leases))
    return _table(("beside", *_LEVELS, *(f"lease {rights(state)}" for state in _STATES)), rows)


def upgrades() -> str:
    """What becomes of a lease that is asked for again."""
    every = (0, *_STATES)
    rows = []
    for before in every:
        record = with_open(leased(before), SECOND)
        wishes = [LeaseWish(KEY, asked) for asked in every]
        rows.append(
            (
                f"**{rights(before)}**",
                *(rights(grant_lease(record, SECOND, address(SECOND), wish).result.state) for wish in wishes),
            )
        )
    return _table(("held, asked", *map(rights, every)), rows)


# -- breaking ---------------------------------------------------------------------------------------------------------


def _cell(record: FileRecord, operation: Operation) -> str:
    outcome = break_and_wait(record, Break(operation, SECOND, b"", THIRD, NOW))
    if not outcome.messages:
        return "·"
    _, to, _, deadline = outcome.messages[0].detail
    left = rights(to).replace("-", "none")
    if outcome.result is not None:
        return f"**{left}**"
    return f"{left}, answered" if deadline else left


def breaks() -> str:
    """What each operation leaves of each grant."""
    rows = []
    for operation in OPERATIONS:
        section, what = _SECTIONS[_name_of(operation)]
        rows.append(
            (f"{what}<br>`{_name_of(operation)}`, {section}", *(_cell(r, operation) for r in _HOLDERS.values()))
        )
    return _table(("somebody else does", *_HOLDERS), rows)


def answers() -> str:
    """What the answer to a break comes to."""
    rows = []
    for held_level, operation in (("batch", "OPEN"), ("batch", "OVERWRITE")):
        record = _broken(_HOLDERS[held_level], getattr(caching, operation))
        offered = rights(record.grants[0].breaking_to).replace("-", "none")
        for name, level in {"none": 0, **_LEVELS, "lease": caching.OPLOCK_LEVEL_LEASE}.items():
            status, state = acknowledge_oplock(record, FIRST, level, NOW).result
            rows.append((f"oplock {held_level}", offered, name, status.name, rights(state)))
    for operation in ("OPEN", "SHARING_CONFLICT", "OVERWRITE"):
        record = _broken(_HOLDERS["lease RWH"], getattr(caching, operation))
        offered = rights(record.grants[0].breaking_to).replace("-", "none")
        for state in (0, *_STATES):
            status, left = acknowledge_lease(record, KEY, state, NOW).result
            rows.append(("lease RWH", offered, rights(state), status.name, rights(left)))
    return _table(("grant", "offered", "answer", "status", "held then"), rows)


def _broken(record: FileRecord, operation: Operation) -> FileRecord:
    return break_and_wait(record, Break(operation, SECOND, b"", THIRD, NOW)).record


# -- diagrams ---------------------------------------------------------------------------------------------------------


def _node(grant: Grant | None) -> str:
    if grant is None or not grant.state:
        return "none"
    if grant.breaking_to == STABLE:
        return rights(grant.state)
    must = f"_must_{rights(grant.required)}" if grant.required != grant.breaking_to else ""
    return f"{rights(grant.state)}_to_{rights(grant.breaking_to)}{must}".replace("-", "none")


def _after(record: FileRecord) -> Grant | None:
    return record.grants[0] if record.grants else None


def _diagram(starts: Sequence[FileRecord], operations: Sequence[str]) -> str:
    """All that can become of some grants by breaks and obedient answers."""
    edges: dict[tuple[str, str], list[str]] = {}
    seen: set[str] = set()
    todo = list(starts)
    while todo:
        record = todo.pop(0)
        grant = _after(record)
        if grant is None or not grant.state or _node(grant) in seen:
            continue
        seen.add(_node(grant))
        todo += [_edge(edges, record, _broken(record, getattr(caching, name)), name) for name in operations]
        if grant.breaking_to != STABLE:
            todo.append(_edge(edges, record, _answered(record, grant), "answered"))
    lines = [f"    {source} --> {target}: {', '.join(why)}" for (source, target), why in edges.items()]
    names = {node for edge in edges for node in edge if "_" in node}
    labels = [f'    state "{_label(node)}" as {node}' for node in sorted(names)]
    return "\n".join(("```mermaid", "stateDiagram-v2", *labels, *lines, "```"))


def _label(node: str) -> str:
    state, _, rest = node.partition("_to_")
    to, _, must = rest.partition("_must_")
    return f"{state}, breaking to {to}" + (f", and then to {must}" if must else "")


def _answered(record: FileRecord, grant: Grant) -> FileRecord:
    if grant.lease:
        return acknowledge_lease(record, KEY, grant.breaking_to, NOW).record
    level = caching.LEVEL_OF_STATE[grant.breaking_to]
    return acknowledge_oplock(record, FIRST, level, NOW).record


def _edge(edges: dict[tuple[str, str], list[str]], before: FileRecord, after: FileRecord, why: str) -> FileRecord:
    ends = _node(_after(before)), _node(_after(after))
    if ends[0] != ends[1]:
        edges.setdefault(ends, []).append(why)
    return after


_TOLD_APART: Final = ("OPEN", "SHARING_CONFLICT", "OVERWRITE")


def lease_diagram() -> str:
    """The states of a lease."""
    return _diagram([leased(RWH), leased(RW), leased(RH), leased(R)], _TOLD_APART)


def oplock_diagram() -> str:
    """The states of an oplock."""
    return _diagram([held(caching.OPLOCK_LEVEL_BATCH), held(caching.OPLOCK_LEVEL_EXCLUSIVE)], ("OPEN", "OVERWRITE"))


# -- the page ---------------------------------------------------------------------------------------------------------

PARTS: Final = {
    "states": states,
    "granted": granted,
    "upgrades": upgrades,
    "breaks": breaks,
    "answers": answers,
    "oplock diagram": oplock_diagram,
    "lease diagram": lease_diagram,
}
_PART: Final = re.compile(r"(<!-- rules: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(page: str) -> str:
    """The page with its tables and diagrams as they are now. Raises KeyError for a part that does not exist."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", page)


def parts_of(page: str) -> set[str]:
    """The parts that a page has."""
    return {found[2] for found in _PART.finditer(page)}


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
    sys.stdout.write(f"{PAGE} is up to date\n")
