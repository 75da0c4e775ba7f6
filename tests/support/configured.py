"""A configuration's folder with two shares and an account, and a client of it, for the tests of `lamina run`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import smbclient

USER, PASSWORD = "alice", "a-good-password"


def prepare(folder: Path, lamina: Callable[..., Any]) -> Path:
    """Make the folders `one` and `two`, a file in each, and accounts; where the configuration is to be written."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / f"{name}.txt").write_text(name)
    accounts = ("--accounts", folder / "accounts.db", "--uid", os.geteuid(), "--gid", os.getegid())
    done = lamina("user", "add", USER, "--password-stdin", *accounts, stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    return folder / "lamina.toml"


class Client:
    """One connection, of its own, kept open until it is closed."""

    def __init__(self, port: int) -> None:
        self.cache: dict[str, Any] = {}
        self.arguments = {"username": USER, "password": PASSWORD, "port": port, "connection_cache": self.cache}

    def listing(self, share: str) -> list[str]:
        return list(smbclient.listdir(rf"\\127.0.0.1\{share}", **self.arguments))

    def open(self, path: str) -> Any:
        return smbclient.open_file(rf"\\127.0.0.1\{path}", mode="rb", share_access="rwd", **self.arguments)

    def close(self) -> None:
        smbclient.reset_connection_cache(connection_cache=self.cache)
