"""Which version a change of the contract asks for, and what it is called."""

from pathlib import Path

import pytest

from tests.support.contract import MODULES, Change, compare, complaint, describe

OLD = ["operations.Operations.open(self)", "required field of backends: open"]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tests.support.contract.MODULES", {"operations": ()})
    return tmp_path / "operations.py"


def described(source: Path, text: str) -> list[str]:
    source.write_text(text)
    return [line for line in describe(source.parent) if "of backends" not in line]


@pytest.mark.parametrize(
    ("new", "version"),
    [
        (OLD, (1, 2)),
        ([*OLD, "operations.Operations.more(self)"], (1, 3)),
        ([*OLD, "required of backends: more"], (2, 0)),
        (OLD[:1], (2, 0)),
        (["operations.Operations.open(self, how)", OLD[1]], (2, 0)),
    ],
)
def test_additions_ask_for_a_minor_version_and_all_else_for_a_major_one(new, version):
    assert compare(OLD, new).least_version((1, 2)) == version


def test_a_change_without_a_version_says_what_to_do():
    assert complaint(OLD, (1, 2), OLD, (1, 2)) == ""
    added = complaint(OLD, (1, 2), [*OLD, "new"], (1, 2))
    assert "Raise the minor part, API_VERSION = (1, 3) in vfs_modules/operations" in added
    assert added.endswith("\n  + new")
    removed = complaint(OLD, (1, 2), OLD[:1], (1, 3))
    assert "Raise the major part, API_VERSION = (2, 0)" in removed
    assert removed.endswith(f"\n  - {OLD[1]}")


def test_a_change_with_its_version_only_needs_a_snapshot():
    assert complaint(OLD, (1, 2), [*OLD, "new"], (1, 3)) == "write the new snapshot: python -m tests.support.contract"
    assert complaint(OLD, (1, 2), OLD, (1, 3)) == "write the new snapshot: python -m tests.support.contract"
    assert complaint(OLD, (1, 2), OLD[:1], (2, 0)) == "write the new snapshot: python -m tests.support.contract"


def test_what_is_described_is_what_a_module_may_use(source):
    assert described(
        source,
        '''
from typing import NamedTuple
_private = 1
LIMIT: int = 3
class Stat(NamedTuple):
    """Words."""
    size: int
    label: str = ""
class Operations:
    name: ClassVar[str] = ""
    @operation(Target.HANDLE, mutates=True)
    def open(self, token: Token, path: str = "", *, deep: bool = False) -> int:
        """Other words."""
        return 1
    def _helper(self): ...
class Announcements:
    @_announcement
    def event(self, kind: str, details: dict): ...
def helper(a: int, b: str = "", *, c: int, d: int = 2) -> None: ...
''',
    ) == [
        "operations.Announcements()",
        "operations.Announcements.event",
        "operations.Announcements.event tells details: dict",
        "operations.Announcements.event tells kind: str",
        "operations.LIMIT",
        "operations.Operations()",
        "operations.Operations.name: ClassVar[str] = ''",
        "operations.Operations.open(self, token: Token, path: str='', *, deep: bool=False) -> int"
        " @operation(Target.HANDLE, mutates=True)",
        "operations.Stat field 1: label: str = ''",
        "operations.Stat is a NamedTuple",
        "operations.Stat()",
        "operations.helper takes 1: b: str=''",
        "operations.helper takes d: int=2",
        "operations.helper(a: int, *, c: int) -> None",
        "required operations.Stat field 0: size: int",
    ]


def test_a_further_base_and_a_deprecation_are_additions(source):
    old = described(source, "class A(B):\n    @operation(1)\n    def do(self): ...")
    new = described(
        source, "class A(C, B):\n    @deprecated((1, 1), (2, 0), 'use b')\n    @operation(1)\n    def do(self): ..."
    )
    assert set(new) - set(old) == {"operations.A is a C", "operations.A.do is deprecated((1, 1), (2, 0), 'use b')"}
    assert set(old) <= set(new)


def test_neither_words_nor_code_nor_private_names_are_part_of_it(source):
    one = described(source, 'class A:\n    """One."""\n    def do(self):\n        return 1\n    def _b(self): ...\n')
    other = described(source, 'class A:\n    """Two."""\n    def do(self):\n        return 2\n')
    assert one == other


def test_every_operation_and_capability_is_described():
    from lamina.vfs_modules.operations import OPERATIONS, Capability

    lines = describe()
    for name in OPERATIONS:
        assert any(line.startswith(f"operations.Operations.{name}(") for line in lines), name
    for capability in Capability:
        assert f"operations.Capability.{capability.name} = auto()" in lines
    for name in ("name", "api_version", "before", "after", "requires", "conflicts", "provides", "keeps_streams"):
        assert any(line.startswith(f"module.VfsModule.{name}: ") for line in lines), name
    assert "hooks.Announcements.share_connected" in lines
    for module, names in MODULES.items():
        for name in names:
            assert any(line.split("(")[0].split(" ")[0].endswith(f".{name}") for line in lines), (module, name)


def test_a_package_is_described_by_what_it_exports_and_its_parts_as_one_class(source):
    package = source.with_suffix("")
    package.mkdir()
    (package / "__init__.py").write_text(
        'from x import Names, Data\n__all__ = ["Operations", "LIMIT"]\nclass Operations(Names, Data):\n    """Words."""'
    )
    (package / "names.py").write_text("class Names:\n    @operation(Target.PATH)\n    def open(self) -> int: ...")
    (package / "data.py").write_text("LIMIT = 3\nINTERNAL = 4\nclass Data:\n    def read(self) -> int: ...")
    assert [line for line in describe(package.parent) if "of backends" not in line] == [
        "operations.LIMIT",
        "operations.Operations()",
        "operations.Operations.open(self) -> int @operation(Target.PATH)",
        "operations.Operations.read(self) -> int",
    ]


def test_what_a_new_class_requires_breaks_nobody() -> None:
    new = ("snapshots.Snapshot()", "required snapshots.Snapshot field 0: when: int")
    assert not Change((), new).is_breaking
    assert Change((), new[1:]).is_breaking
