"""What modules declare of each other, and whether a chain suits it. Nothing is loaded, made or connected here.

A module names others by what they are called or by what they provide: `before = ("streams",)` is "above whoever keeps
streams". A chain that does not suit is answered in a sentence, with the order that does wherever there is one: the
administrator's own, changed only as far as it must be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

from lamina.vfs_modules.module import Backend, VfsModule


@dataclass(frozen=True, slots=True)
class Declared:
    """What one link of a chain says of itself; the fields are those of `VfsModule`."""

    name: str
    is_backend: bool = False
    provides: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    def answers_to(self, wanted: str) -> bool:
        """Whether it is what another module means by `wanted`."""
        return wanted == self.name or wanted in self.provides


class Judgement(NamedTuple):
    """What is to be said of a chain: nothing, or `faults`, and the right `order` where there is one, as positions."""

    faults: tuple[str, ...]
    order: tuple[int, ...] | None
    names: tuple[str, ...]

    @property
    def right_names(self) -> tuple[str, ...]:
        """The names in the right order; none where there is no right order."""
        return tuple(self.names[position] for position in self.order or ())

    def __str__(self) -> str:
        text = "; ".join(self.faults)
        if not self.faults or self.order is None:
            return text
        names = ", ".join(f'"{name}"' for name in self.right_names)
        return f"{text}; the right order is [{names}]"


def declared(kind: type[VfsModule], name: str = "") -> Declared:
    """What a class of modules declares, under the name that configuration gives it."""
    return Declared(
        name or kind.name or kind.__qualname__,
        issubclass(kind, Backend),
        kind.provides,
        kind.before,
        kind.after,
        kind.requires,
        kind.conflicts,
    )


def judge(links: Sequence[Declared]) -> Judgement:
    """Whether `links`, from the top to the backend, may be a chain."""
    names = tuple(link.name for link in links)
    hopeless = (*_backend_faults(links), *_missing(links), *_conflicts(links))
    if hopeless:
        return Judgement(hopeless, None, names)
    above = _above(links)
    order = _sorted(len(links), above)
    if order is None:
        return Judgement((_circle(names, above),), None, names)
    return Judgement(_misplaced(links, above), order, names)


def _backend_faults(links: Sequence[Declared]) -> list[str]:
    backends = [link.name for link in links if link.is_backend]
    if not backends:
        last = f", not {links[-1].name!r}" if links else ""
        return [f"the last module of a chain must be a backend, such as 'posix'{last}"]
    if len(backends) == 1:
        return []
    return [f"{backends[0]!r} is a backend and must stand last and alone, and so must {_listed(backends[1:])}"]


def _missing(links: Sequence[Declared]) -> list[str]:
    return [
        f"{link.name!r} needs {wanted!r}, and no other module of the chain is called so or provides it"
        for position, link in enumerate(links)
        for wanted in link.requires
        if not any(other.answers_to(wanted) for place, other in enumerate(links) if place != position)
    ]


def _conflicts(links: Sequence[Declared]) -> list[str]:
    return [
        f"{one.name!r} and {other.name!r} cannot be in one chain"
        for one, other in combinations(links, 2)
        if any(map(other.answers_to, one.conflicts)) or any(map(one.answers_to, other.conflicts))
    ]


def _above(links: Sequence[Declared]) -> Mapping[int, Mapping[int, str]]:
    """For each position those that it must stand above, with what it is called there ("" for its own name)."""
    above: dict[int, dict[int, str]] = {position: {} for position in range(len(links))}
    for upper, one in enumerate(links):
        for lower, other in enumerate(links):
            if upper == lower:
                continue
            if other.is_backend:
                above[upper][lower] = ""
            if one.name == other.name:
                continue  # two of a kind may stand in any order
            for wanted in filter(other.answers_to, one.before):
                above[upper].setdefault(lower, wanted if wanted != other.name else "")
            if any(map(one.answers_to, other.after)):
                above[upper].setdefault(lower, "")
    return above


def _sorted(count: int, above: Mapping[int, Mapping[int, str]]) -> tuple[int, ...] | None:
    """The positions in an order that suits, always taking the first written of those that may come next; or None."""
    left = list(range(count))
    order: list[int] = []
    while left:
        free = next((one for one in left if not any(one in above[other] for other in left)), None)
        if free is None:
            return None
        left.remove(free)
        order.append(free)
    return tuple(order)


def _misplaced(links: Sequence[Declared], above: Mapping[int, Mapping[int, str]]) -> tuple[str, ...]:
    faults: list[str] = []
    for upper, lowers in above.items():
        wrong = {lower: wanted for lower, wanted in lowers.items() if lower < upper}
        backends = [lower for lower in wrong if links[lower].is_backend]
        faults += [f"{links[lower].name!r} is a backend and must stand last" for lower in backends]
        named = [_called(links[lower].name, wanted) for lower, wanted in wrong.items() if lower not in backends]
        if named:
            faults.append(f"{links[upper].name!r} must stand above {_listed(named, quoted=True)}")
    return tuple(dict.fromkeys(faults))


def _called(name: str, wanted: str) -> str:
    return f"{name!r}, which provides {wanted!r}" if wanted else repr(name)


def _circle(names: Sequence[str], above: Mapping[int, Mapping[int, str]]) -> str:
    """A sentence about modules of which each must stand above the next, and the last above the first."""
    alive = {one for one in above if above[one]}
    while dead := {one for one in alive if not above[one].keys() & alive}:
        alive -= dead
    path = [min(alive)]
    while (following := min(above[path[-1]].keys() & alive)) not in path:
        path.append(following)
    circle = [*path[path.index(following) :], following]
    steps = [f"{names[one]!r} above {names[other]!r}" for one, other in pairwise(circle)]
    return f"no order suits: {_listed(steps, quoted=True).replace(' above ', ' must stand above ', 1)}"


def _listed(items: Iterable[str], *, quoted: bool = False) -> str:
    parts = [item if quoted else repr(item) for item in items]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
