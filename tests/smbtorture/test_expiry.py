"""smbtorture's tests of sessions that expire: they want Kerberos, and tickets that are over after some seconds."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.smbtorture import setup
from tests.smbtorture.runner import SMBTORTURE, Target, Verdict, installed, run
from tests.support import kdc
from tests.support.processes import serving, shared_scratch

HOST = "files.lamina.test"
TESTS = ("expire1n", "expire1s", "expire1e", "expire2s", "expire2e", "expire_disconnect")

pytestmark = [
    pytest.mark.skipif(not installed(), reason=f"{SMBTORTURE} is not installed: apt install samba-testsuite"),
    pytest.mark.skipif(bool(kdc.missing()), reason=kdc.missing()),
    pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed: apt install util-linux"),
    pytest.mark.timeout(setup.SLOW_TIMEOUT + 45),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A server that knows a realm, by a name that only smbtorture's own processes find."""
    pytest.importorskip("gssapi", reason="install the extra lamina[kerberos] (needs libkrb5-dev and a compiler)")
    with shared_scratch() as scratch, pytest.MonkeyPatch.context() as patch:
        (scratch / "kdc").mkdir()
        with kdc.running_kdc(scratch / "kdc", clock_skew=5) as running:
            for name, value in running.environment.items():
                patch.setenv(name, value)
            layout = setup.layout(scratch, len(TESTS), "lamina")
            user = replace(layout.users[0], name=kdc.USERS[0])
            auth = {**layout.auth, "keytab": str(running.keytab), "realm": kdc.REALM}
            layout = replace(layout, users=(user, *layout.users[1:]), auth=auth)
            with serving(layout, scratch / "state", "lamina") as server:
                yield _target(server.port, scratch)


def _target(port: int, scratch: Path) -> Target:
    hosts = scratch / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {HOST}\n")
    namespace = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
    return Target(
        port,
        f"{kdc.USERS[0]}@{kdc.REALM}",
        kdc.PASSWORD,
        host=HOST,
        arguments=("--use-kerberos=required", f"--option=realm={kdc.REALM}"),
        through=(*namespace, "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"),
    )


@pytest.mark.parametrize(("number", "test"), list(enumerate(TESTS)))
def test_smbtorture(number: int, test: str, target: Target) -> None:
    # Each on a share of its own: what one leaves is deleted while the next already listens to changes.
    outcome = run(f"smb2.session.{test}", f"share{number or ''}", target, setup.SLOW_TIMEOUT)
    assert outcome.verdict is Verdict.PASS, f"{outcome.reason}\n{outcome.output[-6000:]}"
