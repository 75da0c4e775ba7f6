"""A real MIT KDC on loopback, for one test session: a realm of its own, users with passwords, services in a keytab.

All it keeps is under the folder it is given; it is ended by its own process id.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REALM = "LAMINA.TEST"
PASSWORD = "Kerber0s!"
USERS = ("alice", "mallory")
SERVICES = ("cifs/localhost", "cifs/files.lamina.test", "HTTP/localhost")
START_SECONDS = 30.0

_KRB5_CONF = """[libdefaults]
 default_realm = {realm}
 clockskew = {skew}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 {realm} = {{
  kdc = 127.0.0.1:{port}
 }}
[domain_realm]
 localhost = {realm}
 .lamina.test = {realm}
"""
_KDC_CONF = """[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  max_life = 10h
 }}
[logging]
 kdc = FILE:{folder}/kdc.log
 default = FILE:{folder}/krb5.log
"""


@dataclass(frozen=True)
class Kdc:
    """A running KDC. `environment` makes the Kerberos libraries of a process use it."""

    folder: Path
    keytab: Path
    environment: dict[str, str]


def missing() -> str:
    """What must be installed for a KDC to run, or nothing."""
    needed = ("krb5kdc", "kdb5_util", "kadmin.local")
    lacking = [name for name in needed if _tool(name) is None]
    return f"{', '.join(lacking)} missing: install krb5-kdc and krb5-admin-server" if lacking else ""


def _tool(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_kdc(folder: Path, clock_skew: int = 300) -> Iterator[Kdc]:
    """A KDC for `REALM` with its state in `folder`. `clock_skew`: seconds that a ticket is good for after its end."""
    port = _free_port()
    (folder / "krb5.conf").write_text(_KRB5_CONF.format(realm=REALM, port=port, skew=clock_skew))
    (folder / "kdc.conf").write_text(_KDC_CONF.format(realm=REALM, port=port, folder=folder))
    environment = {
        "KRB5_CONFIG": str(folder / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
        "KRB5CCNAME": f"FILE:{folder}/ccache",
        "KRB5RCACHENAME": f"file2:{folder}/rcache",
    }
    keytab = folder / "service.keytab"
    _create_realm(environment, keytab)
    with subprocess.Popen([_tool("krb5kdc") or "", "-n", "-r", REALM], env=os.environ | environment) as process:
        try:
            _wait_until_it_listens(process, port)
            yield Kdc(folder, keytab, environment)
        finally:
            process.terminate()


def _create_realm(environment: dict[str, str], keytab: Path) -> None:
    def run(tool: str, *arguments: str) -> None:
        command = [_tool(tool) or tool, "-r", REALM, *arguments]
        subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, timeout=60)

    run("kdb5_util", "create", "-s", "-P", "master-of-a-test")
    for user in USERS:
        run("kadmin.local", "addprinc", "-pw", PASSWORD, user)
    for service in SERVICES:
        run("kadmin.local", "addprinc", "-randkey", service)
        run("kadmin.local", "ktadd", "-k", str(keytab), service)


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"krb5kdc ended with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError("krb5kdc does not listen")
