"""Files with named streams against a model of dictionaries."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lamina.ntfsa import constants as c
from lamina.ntfsa.naming.names import fold
from lamina.ntfsa.status import NtStatus as S
from lamina.ntfsa.status import NtStatusError
from tests.ntfsa.conftest import Share
from tests.support.nt_streams import KEEPERS, contents, streams


class StreamsModel(RuleBasedStateMachine):
    """Files with streams behave as dictionaries of byte arrays, whatever names are spelt like."""

    keeper = "memory"
    files = some.sampled_from(["one", "two"])
    names = some.sampled_from(["", "a", "A", "b", "Stream ä"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="lamina-test-")
        self.share = Share(Path(self.folder.name), *KEEPERS[self.keeper]())
        self.model: dict[str, dict[str, bytearray]] = {}

    @rule(file=files, name=names, data=some.binary(max_size=60), offset=some.integers(0, 90))
    def write(self, file: str, name: str, data: bytes, offset: int) -> None:
        opened = self.share.open(f"{file}:{name}" if name else file, c.FILE_OPEN_IF)
        self.share.write(opened, data, offset)
        self.share.close(opened)
        kept = self.model.setdefault(file, {"": bytearray()}).setdefault(fold(name), bytearray())
        if data:
            kept.extend(bytes(max(offset + len(data) - len(kept), 0)))
            kept[offset : offset + len(data)] = data

    @rule(file=files, name=names)
    def overwrite(self, file: str, name: str) -> None:
        self.share.close(self.share.open(f"{file}:{name}" if name else file, c.FILE_OVERWRITE_IF))
        if name:
            self.model.setdefault(file, {"": bytearray()})[fold(name)] = bytearray()
        else:
            self.model[file] = {"": bytearray()}

    @rule(file=files, name=names)
    def delete(self, file: str, name: str) -> None:
        status = self.share.status(f"{file}:{name}" if name else file, options=c.FILE_DELETE_ON_CLOSE)
        there = fold(name) in self.model.get(file, {})
        assert status is (S.SUCCESS if there else S.OBJECT_NAME_NOT_FOUND)
        if there and name:
            del self.model[file][fold(name)]
        elif there:
            del self.model[file]

    @rule(file=files, name=names.filter(bool), to=names.filter(bool))
    def rename(self, file: str, name: str, to: str) -> None:
        kept = self.model.get(file, {})
        if fold(name) not in kept:
            return
        opened = self.share.open(f"{file}:{name}")
        taken = fold(to) in kept and fold(to) != fold(name)
        if taken and kept[fold(to)]:
            with pytest.raises(NtStatusError, match="holds data"):
                self.share.rename(opened, f":{to}", replace=True)
        else:
            self.share.rename(opened, f":{to}", replace=True)
            kept[fold(to)] = kept.pop(fold(name))
        self.share.close(opened)

    @invariant()
    def agrees(self) -> None:
        for file in ("one", "two"):
            kept = self.model.get(file)
            if kept is None:
                assert self.share.status(file) is S.OBJECT_NAME_NOT_FOUND
                continue
            shown = {fold(name.split(":")[1]): size for name, (size, _) in streams(self.share, file).items()}
            assert shown == {name: len(value) for name, value in kept.items()}
            for name, value in kept.items():
                assert contents(self.share, f"{file}:{name}" if name else file) == value
        assert len(self.share.registry) == 0

    def teardown(self) -> None:
        self.share.end()
        self.folder.cleanup()


class XattrModel(StreamsModel):
    """The same in extended attributes."""

    keeper = "xattr"


class DepotModel(StreamsModel):
    """The same in a depot."""

    keeper = "depot"


TestMemory = StreamsModel.TestCase
TestXattr = XattrModel.TestCase
TestDepot = DepotModel.TestCase
for _case in (TestMemory, TestXattr, TestDepot):
    _case.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
