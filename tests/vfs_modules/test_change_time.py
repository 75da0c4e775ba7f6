"""Change times that are set, against a model that says when they end: with a clock of its own, in memory."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lamina.vfs_modules.operations import Access, DosAttributes, OpenHow, Times
from lamina.vfs_modules.stock.dos_attributes import DosAttributesModule
from lamina.vfs_modules.stock.memory import MemoryBackend
from lamina.vfs_modules.testing import local_chain, make_token

SECOND = 1_000_000_000
# In steps of 100 ns, as they are kept.
moments = st.integers(-(10**17), 10**17).map(lambda steps: steps * 100)


class ChangeTimes(RuleBasedStateMachine):
    """One file; `shown` is the change time that was set, and None from the next change on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10**18
        self.shown: int | None = None
        self.chain = local_chain(".", DosAttributesModule(), MemoryBackend(clock=lambda: self.now))
        self.token = make_token()
        self.root = self.chain.open_root(self.token)
        self.handle = self.chain.open(self.token, self.root, "one", OpenHow(Access.READ_WRITE, create=True))

    def changed(self) -> None:
        """What follows changes the file, and at a time of its own: the clock is set back by hours."""
        self.now += 2 * SECOND
        self.shown = None

    @rule(change=moments, write=st.none() | moments, creation=st.none() | moments)
    def set_change_time(self, change: int, write: int | None, creation: int | None) -> None:
        self.now += 2 * SECOND
        self.chain.set_times(self.token, self.handle, Times(None, write, change, creation))
        self.shown = change

    @rule(write=st.none() | moments, creation=moments)
    def set_other_times(self, write: int | None, creation: int) -> None:
        self.changed()
        self.chain.set_times(self.token, self.handle, Times(None, write, None, creation))

    @rule(bits=st.integers(0, 7))
    def set_attributes(self, bits: int) -> None:
        self.changed()
        self.chain.set_dos_attributes(self.token, self.handle, DosAttributes(bits, None))

    @rule(data=st.binary(min_size=1, max_size=9))
    def write(self, data: bytes) -> None:
        self.changed()
        self.chain.pwrite(self.token, self.handle, memoryview(data), 0)

    @rule()
    def truncate(self) -> None:
        self.changed()
        self.chain.ftruncate(self.token, self.handle, self.now % 7)

    @rule(mode=st.integers(0, 0o777))
    def set_mode(self, mode: int) -> None:
        self.changed()
        self.chain.fchmod(self.token, self.handle, mode)

    @rule(value=st.binary(max_size=5))
    def set_another_attribute(self, value: bytes) -> None:
        self.changed()
        self.chain.setxattr(self.token, self.handle, "user.other", value)

    @rule()
    def look(self) -> None:
        self.now += SECOND
        self.chain.pread(self.token, self.handle, memoryview(bytearray(4)), 0)

    @rule(back=st.integers(1, 1000))
    def the_clock_is_set_back(self, back: int) -> None:
        self.now -= back * 3600 * SECOND

    @invariant()
    def the_change_time_is_the_one_that_was_set_until_something_changes(self) -> None:
        status = self.chain.fstat(self.token, self.handle)
        assert self.chain.get_dos_attributes(self.token, self.handle, status).change_ns == self.shown
        listed = next(iter(self.chain.readdir(self.token, self.root, True)))
        assert listed.dos is None or listed.dos.change_ns == self.shown

    def teardown(self) -> None:
        for handle in (self.handle, self.root):
            self.chain.close(self.token, handle)
        self.chain.disconnect()


TestChangeTimes = ChangeTimes.TestCase
TestChangeTimes.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
