"""A directory that smbd has written with acl_xattr reads the same through Lamina, and the other way round."""

import os
import random
import shutil
from pathlib import Path

import pytest

from lamina.core.wire import constants as smb
from lamina.ntfsa import constants as c
from lamina.ntfsa.security.security_descriptor import (
    SE_DACL_AUTO_INHERIT_REQ,
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SELF_RELATIVE,
    Ace,
    Acl,
    SecurityDescriptor,
    pack_security_descriptor,
    parse_security_descriptor,
    to_sddl,
)
from lamina.ntfsa.security.sid import BUILTIN_USERS, CREATOR_OWNER, EVERYONE
from tests.support.processes import Folder, Layout
from tests.support.root_client import ROOT, client_of
from tests.support.wire_client import WireClient

PARTS = c.OWNER_SECURITY_INFORMATION | c.GROUP_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
FULL, READ, BOTH, INHERIT_ONLY = c.FILE_ALL_ACCESS, c.FILE_GENERIC_READ, 3, 8
INHERITS = SE_SELF_RELATIVE | SE_DACL_PRESENT | SE_DACL_AUTO_INHERITED | SE_DACL_AUTO_INHERIT_REQ


@pytest.fixture(params=[True, False], ids=["ignoring system acls", "asking the kernel"])
def ignoring(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def layout(tmp_path: Path, ignoring: bool) -> Layout:
    if not shutil.which("smbd") or not shutil.which("smbpasswd"):
        pytest.skip("needs smbd; install Debian's samba and samba-vfs-modules")
    if os.geteuid() != 0:
        pytest.skip("smbd is run as root here; run the tests as root")
    (tmp_path / "share").mkdir()
    options = {"ignore_system_acls": ignoring, "notice_local_changes": not ignoring}
    folder = Folder(
        str(tmp_path / "share"),
        settings={"vfs objects": "acl_xattr", "acl_xattr:ignore system acls": "yes" if ignoring else "no"},
        chain=(("acl_xattr", options), ("dos_attributes", {}), ("posix", {})),
    )
    return Layout({"share": folder}, [ROOT])


def write_tree(client: WireClient) -> list[str]:
    """Files and folders with lists of their own, and some that have inherited theirs; their names."""
    lists = {
        "plain": SecurityDescriptor(dacl=Acl((Ace(0, 0, FULL, EVERYONE),))),
        "refused": SecurityDescriptor(dacl=Acl((Ace(1, 0, c.DELETE, BUILTIN_USERS), Ace(0, 0, FULL, EVERYONE)))),
        "nobody's": SecurityDescriptor(dacl=Acl(())),
        "protected": SecurityDescriptor(
            dacl=Acl((Ace(0, 0, FULL, EVERYONE),)), control=SE_SELF_RELATIVE | SE_DACL_PRESENT | SE_DACL_PROTECTED
        ),
    }
    for name, descriptor in lists.items():
        _set(client, _make(client, name, directory=False), descriptor)
    passed_on = (
        Ace(0, BOTH, FULL, EVERYONE),
        Ace(0, BOTH | INHERIT_ONLY, READ, CREATOR_OWNER),
        Ace(1, 2, c.WRITE_DAC, BUILTIN_USERS),
    )
    _set(client, _make(client, "folder", directory=True), SecurityDescriptor(dacl=Acl(passed_on), control=INHERITS))
    inherited = ["folder\\file", "folder\\folder", "folder\\folder\\file"]
    for name in inherited:
        client.close(_make(client, name, directory=name.endswith("folder")))
    return [*lists, "folder", *inherited]


def _make(client: WireClient, name: str, directory: bool) -> tuple[int, int]:
    options = c.FILE_DIRECTORY_FILE if directory else 0
    return client.create(name, access=FULL, disposition=c.FILE_CREATE, options=options).file_id


def _set(client: WireClient, file: tuple[int, int], descriptor: SecurityDescriptor) -> None:
    packed = pack_security_descriptor(descriptor)
    client.set_info(file, smb.INFO_SECURITY, 0, packed, c.DACL_SECURITY_INFORMATION)
    client.close(file)


def read_tree(client: WireClient, names: list[str]) -> dict[str, str]:
    found = {}
    for name in names:
        # Owners have the SIDs of the server that made the files: what admits nobody is read for backup.
        opened = client.create(name, access=c.READ_CONTROL, options=c.FILE_OPEN_FOR_BACKUP_INTENT)
        packed = client.query_info(opened, smb.INFO_SECURITY, 0, additional=PARTS)
        found[name] = to_sddl(parse_security_descriptor(packed))
        client.close(opened)
    return found


def test_what_smbd_has_written_reads_the_same_through_lamina(layout: Layout, tmp_path: Path) -> None:
    with client_of(layout, tmp_path / "smbd", "smbd") as samba:
        names = write_tree(samba)
        written = read_tree(samba, names)
    with client_of(layout, tmp_path / "lamina", "lamina") as lamina:
        assert read_tree(lamina, names) == written


def test_what_lamina_has_written_reads_the_same_through_smbd(layout: Layout, tmp_path: Path) -> None:
    with client_of(layout, tmp_path / "lamina", "lamina") as lamina:
        names = write_tree(lamina)
        written = read_tree(lamina, names)
    with client_of(layout, tmp_path / "smbd", "smbd") as samba:
        assert read_tree(samba, names) == written


def test_both_pass_the_same_on(layout: Layout, tmp_path: Path) -> None:
    """The lists of what was made in a folder, but for whose they are: smbd is the oracle of inheritance."""
    trees = []
    for kind in ("smbd", "lamina"):
        shutil.rmtree(tmp_path / "share")
        (tmp_path / "share").mkdir()
        with client_of(layout, tmp_path / kind, kind) as client:
            names = write_tree(client)
            found = read_tree(client, names)
            owner = found["folder\\file"].partition("G:")[0].removeprefix("O:")
            trees.append({n: t.partition("D:")[2].replace(owner, "ME") for n, t in found.items() if "\\" in n})
    assert trees[0] == trees[1]


def _random_lists(seed: int, count: int) -> list[Acl]:
    rng = random.Random(seed)
    sids = [EVERYONE, BUILTIN_USERS, CREATOR_OWNER, "S-1-5-21-7-7-7-1000", "S-1-5-11"]
    masks = [FULL, READ, c.FILE_GENERIC_WRITE, c.FILE_READ_DATA, c.DELETE | c.WRITE_DAC]
    # All of it first, so that what is made can be made and looked at.
    everything = Ace(0, BOTH, FULL, EVERYONE)
    return [
        Acl(
            (
                everything,
                *(
                    Ace(rng.choice((0, 0, 1)), rng.randrange(16), rng.choice(masks), rng.choice(sids))
                    for _ in range(rng.randrange(1, 5))
                ),
            )
        )
        for _ in range(count)
    ]


def _children(client: WireClient, lists: list[Acl]) -> list[list[str]]:
    found = []
    for number, dacl in enumerate(lists):
        folder = f"parent{number}"
        _set(client, _make(client, folder, directory=True), SecurityDescriptor(dacl=dacl, control=INHERITS))
        names = [f"{folder}\\file", f"{folder}\\folder"]
        for name in names:
            client.close(_make(client, name, directory=name.endswith("folder")))
        told = read_tree(client, names)
        owner = told[names[0]].partition("G:")[0].removeprefix("O:")
        found.append([_without_repetition(told[name].partition("D:")[2].replace(owner, "ME")) for name in names])
    return found


def _without_repetition(text: str) -> str:
    # smbd leaves out an entry that says again what one before it has said.
    flags, *entries = text.split("(")
    return "(".join((flags, *dict.fromkeys(entries)))


@pytest.mark.parametrize("ignoring", [True], indirect=True)
def test_random_lists_are_passed_on_as_smbd_passes_them_on(layout: Layout, tmp_path: Path) -> None:
    lists = _random_lists(11, 150)
    trees = []
    for kind in ("smbd", "lamina"):
        shutil.rmtree(tmp_path / "share")
        (tmp_path / "share").mkdir()
        with client_of(layout, tmp_path / kind, kind) as client:
            trees.append(_children(client, lists))
    for dacl, theirs, ours in zip(lists, *trees, strict=True):
        assert ours == theirs, dacl
