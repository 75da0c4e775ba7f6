"""A real Active Directory domain on loopback, for one test session: Samba's domain controller, reduced to its KDC.

It is provisioned into the folder it is given, with users in nested groups, a service whose key goes to a keytab, and a
realm of its own; nothing of the machine is touched and no name is looked up. Samba's own tools make it, with the
system's Python; the KDC is one process, ended by its own id.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import free_port, wait_for_port

REALM = "AD.LAMINA.TEST"
DOMAIN = "LAMAD"
PASSWORD = "Kerber0s!"
HOST = "files.ad.lamina.test"
USERS = ("ada", "bea")
MEMBERS = {"inner": ("ada",), "outer": ("inner",), "local": ("outer",), "others": ("bea",)}
"""Group → who is in it: users and groups. `local` is a domain local group, the others are global."""

_PROVISION = "/usr/share/samba/setup/provision.ldif"
_SMB_CONF = """[global]
 realm = {realm}
 workgroup = {domain}
 netbios name = DC1
 server role = active directory domain controller
 server services = kdc
 interfaces = 127.0.0.1/8
 bind interfaces only = yes
 krb5 port = {port}
 kpasswd port = {kpasswd}
 lock directory = {folder}
 state directory = {folder}/state
 cache directory = {folder}/cache
 private dir = {folder}/private
 pid directory = {folder}
 ncalrpc dir = {folder}/ncalrpc
 log file = {folder}/samba.log
 disable netbios = yes
"""
_KRB5_CONF = """[libdefaults]
 default_realm = {realm}
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
 .ad.lamina.test = {realm}
"""
# Run by the system's Python, which has Samba's packages: everything in one process, as each start takes a second.
_POPULATE = """
import json, sys
import ldb, samba.dckeytab
from samba.auth import system_session
from samba.credentials import Credentials
from samba.dsdb import GTYPE_SECURITY_DOMAIN_LOCAL_GROUP
from samba.net import Net
from samba.param import LoadParm
from samba.samdb import SamDB
wanted = json.loads(sys.argv[1])
settings = LoadParm()
settings.load(wanted["smb_conf"])
domain = SamDB(url=wanted["database"], session_info=system_session(), lp=settings)
for user in wanted["users"]:
    domain.newuser(user, wanted["password"])
for group, members in wanted["members"].items():
    domain.newgroup(group, grouptype=GTYPE_SECURITY_DOMAIN_LOCAL_GROUP if group == "local" else None)
    domain.add_remove_group_members(group, members, add_members_operation=True)
domain.newuser("service", wanted["password"])
found = domain.search(expression="(sAMAccountName=service)", attrs=[])
change = ldb.Message(found[0].dn)
change["name"] = ldb.MessageElement([wanted["principal"]], ldb.FLAG_MOD_REPLACE, "servicePrincipalName")
# AES-128 and AES-256 (MS-KILE 2.2.7 Supported Encryption Types Bit Flags).
change["types"] = ldb.MessageElement("24", ldb.FLAG_MOD_REPLACE, "msDS-SupportedEncryptionTypes")
domain.modify(change)
domain.setpassword("(sAMAccountName=service)", wanted["password"])
credentials = Credentials()
credentials.guess(settings)
Net(credentials, settings).export_keytab(keytab=wanted["keytab"], principal=wanted["principal"])
names = {}
for entry in domain.search(expression="(objectSid=*)", attrs=["objectSid", "sAMAccountName"]):
    if "sAMAccountName" in entry:
        names[str(entry["sAMAccountName"][0])] = domain.schema_format_value("objectSid", entry["objectSid"][0]).decode()
print(json.dumps(names))
"""


@dataclass(frozen=True)
class ActiveDirectory:
    """A running domain. `sids`: of its users and groups by name. `environment` makes Kerberos libraries use it."""

    folder: Path
    keytab: Path
    sids: dict[str, str]
    environment: dict[str, str]


def missing() -> str:
    """What must be installed for a domain controller to run, or nothing."""
    lacking = [name for name in ("samba", "samba-tool") if _tool(name) is None]
    if lacking or not os.path.exists(_PROVISION):
        return "no domain controller: install samba, samba-ad-provision and samba-dsdb-modules"
    return "provisioning a domain needs root" if os.geteuid() != 0 else ""


def _tool(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@contextlib.contextmanager
def running_domain(folder: Path) -> Iterator[ActiveDirectory]:
    """A domain with its state in `folder`."""
    port, kpasswd = free_port(), free_port()
    environment = {
        "KRB5_CONFIG": str(folder / "krb5.conf"),
        "KRB5CCNAME": f"FILE:{folder}/ccache",
        "KRB5RCACHENAME": f"file2:{folder}/rcache",
    }
    _provision(folder)
    names = {"realm": REALM, "domain": DOMAIN, "port": port, "kpasswd": kpasswd, "folder": folder}
    (folder / "smb.conf").write_text(_SMB_CONF.format(**names))
    (folder / "krb5.conf").write_text(_KRB5_CONF.format(**names))
    keytab = folder / "service.keytab"
    sids = _populate(folder, keytab)
    command = [_tool("samba") or "samba", "-s", str(folder / "smb.conf"), "-i", "-M", "single", "--no-process-group"]
    with (folder / "samba.out").open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True)
    try:
        wait_for_port(port, process)
        yield ActiveDirectory(folder, keytab, sids, environment)
    finally:
        process.terminate()
        process.wait(30)


def _provision(folder: Path) -> None:
    options = [f"--realm={REALM}", f"--domain={DOMAIN}", "--adminpass=Adm1n-Pass!", "--server-role=dc"]
    options += ["--dns-backend=NONE", "--host-name=dc1", "--host-ip=127.0.0.1", f"--targetdir={folder}"]
    options += ["--option=interfaces=127.0.0.1/8", "--option=bind interfaces only=yes", "-s", os.devnull]
    _run([_tool("samba-tool") or "samba-tool", "domain", "provision", *options])


def _populate(folder: Path, keytab: Path) -> dict[str, str]:
    wanted = {
        "smb_conf": str(folder / "smb.conf"),
        "database": str(folder / "private" / "sam.ldb"),
        "users": USERS,
        "password": PASSWORD,
        "members": MEMBERS,
        "principal": f"cifs/{HOST}",
        "keytab": str(keytab),
    }
    answer = _run(["/usr/bin/python3", "-c", _POPULATE, json.dumps(wanted)])
    return dict(json.loads(answer))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
