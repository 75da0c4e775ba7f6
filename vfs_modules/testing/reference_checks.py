"""The check that a chain does what the reference does, whatever is asked of it in whatever order.

Hypothesis makes up the histories; where it is not installed (`pip install lamina[test]`) the check is left out.
"""

from importlib.util import find_spec

from lamina.vfs_modules.chain import ShareInfo, build_chain
from lamina.vfs_modules.testing.hand import hand_of
from lamina.vfs_modules.testing.trial import LeftOut, Trial, trial


@trial()
def any_history_goes_as_with_the_reference(subject: Trial) -> None:
    """The same operations on the chain and on `memory` answer the same, and end with the same tree."""
    if find_spec("hypothesis") is None:
        raise LeftOut("pip install 'lamina[test]', which has hypothesis")
    from lamina.vfs_modules.stock.memory import MemoryBackend
    from lamina.vfs_modules.testing.histories import compare

    reference = build_chain([MemoryBackend()], ShareInfo("reference", "/"))
    reference.connect()
    with subject.chain() as chain, hand_of(chain, subject.token) as hand, hand_of(reference, subject.token) as other:
        compare(hand, other)
    reference.disconnect()


__all__ = ["any_history_goes_as_with_the_reference"]
