"""Names with mapped characters on the wire: as Macs write them, and as they are on disk."""

import os
from collections.abc import Callable

from tests.support.served import Served, new_file

CHAIN = ["catia", "streams_xattr", "dos_attributes", "posix"]
NAMES_INFORMATION = 12
STREAM_INFORMATION = 22


def listed(packed: bytes) -> list[str]:
    names = []
    while packed:
        following = int.from_bytes(packed[:4], "little")
        length = int.from_bytes(packed[8:12], "little")
        names.append(packed[12 : 12 + length].decode("utf-16-le"))
        packed = packed[following:] if following else b""
    return [name for name in names if name not in {".", ".."}]


def test_a_macs_colon_is_a_colon_on_disk(serve: Callable[..., Served]) -> None:
    served = serve(chain=CHAIN)
    client = served.connected()
    client.close(new_file(client, "a\uf022b\uf020c\uf023"))
    assert os.listdir(served.folder) == ['a:b"c<']
    folder = client.create("", access=1, options=1)
    assert listed(client.query_directory(folder, "*", NAMES_INFORMATION)) == ["a\uf022b\uf020c\uf023"]
    client.close(client.create("A\uf022B\uf020C\uf023"))


def test_files_made_locally_are_shown_as_macs_write_them(serve: Callable[..., Served]) -> None:
    served = serve(chain=CHAIN)
    for name in ("12:30", 'say "hi"', "what?"):
        (served.folder / name).touch()
    client = served.connected()
    folder = client.create("", access=1, options=1)
    shown = listed(client.query_directory(folder, "*", NAMES_INFORMATION))
    assert sorted(shown) == ["12\uf02230", "say \uf020hi\uf020", "what\uf025"]
    for name in shown:
        client.close(client.create(name))


def test_streams_too(serve: Callable[..., Served]) -> None:
    served = serve(chain=CHAIN)
    client = served.connected()
    client.close(new_file(client, "file:a\uf022b"))
    assert "user.DosStream.a:b:$DATA" in os.listxattr(served.folder / "file")
    told = client.query_info(client.create("file"), 1, STREAM_INFORMATION)
    assert ":a\uf022b:$DATA".encode("utf-16-le") in told


def test_a_stream_that_no_client_could_name_is_not_told_of_without_the_module(serve: Callable[..., Served]) -> None:
    served = serve(chain=CHAIN[1:])
    client = served.connected()
    file = new_file(client)
    os.setxattr(served.folder / "file", "user.DosStream.a:b:$DATA", b"x\0")
    told = client.query_info(file, 1, STREAM_INFORMATION)
    assert "a:b".encode("utf-16-le") not in told
