"""What the administrator may say in [share.NAME.ceph]."""

from typing import Literal

from lamina.vfs_modules.module import ModuleOptions, named_by_samba
from pydantic import Field


class CephLayout(ModuleOptions):
    """How the data of new files is laid out; what is not given is as the directory has it."""

    pool: str = Field(default="", description="the data pool, by its name")
    pool_namespace: str = Field(default="", description="the namespace in it")
    stripe_unit: int | None = Field(default=None, ge=65536, multiple_of=65536, description="bytes of a stripe")
    stripe_count: int | None = Field(default=None, ge=1, description="objects that stripes are spread over")
    object_size: int | None = Field(default=None, ge=65536, multiple_of=65536, description="bytes of an object")

    def value(self) -> bytes:
        """What the extended attribute `ceph.file.layout` is set to; nothing where nothing is given."""
        given = {name: value for name, value in self.model_dump().items() if value not in {"", None}}
        return " ".join(f"{name}={value}" for name, value in given.items()).encode()


class CephOptions(ModuleOptions):
    """Options of `ceph`, by the names that Samba's vfs_ceph has for the first three as well."""

    samba_names = named_by_samba("ceph", conf="config_file", user="user_id", file_system="filesystem")

    conf: str = Field(default="", description="Ceph's configuration file; /etc/ceph/CLUSTER.conf unless it is given")
    cluster: str = Field(default="ceph", pattern=r"^[\w.-]+$", description="the cluster's name, for its files")
    user: str = Field(default="admin", min_length=1, description='who the server is to Ceph: "smb" for client.smb')
    keyring: str = Field(default="", description="the file with that user's key, where Ceph would not find it")
    file_system: str = Field(default="", description="which CephFS, where the cluster has several")
    root: str = Field(
        default="",
        pattern=r"^(/.*|)$",
        description="the directory of CephFS that is shared; the share's path unless it is given",
    )
    threads: int = Field(default=16, ge=2, le=512, description="calls to the cluster that may be under way at a time")
    seconds: float = Field(
        default=45.0, gt=0, description="seconds after which a call is given up that has not been answered"
    )
    mount_seconds: float = Field(default=30.0, gt=0, description="seconds in which the cluster must be reached at all")
    write_cache: Literal["write-back", "write-through"] = Field(
        default="write-back",
        description="whether what is written may stay in this server's memory for some seconds, unless the client asks "
        "for more; persistent handles are always written through",
    )
    posix_locking: bool = Field(
        default=False,
        description="take clients' byte-range locks on CephFS too, so that other clients of it, other servers among "
        "them, see them",
    )
    posix_acls: bool = Field(default=False, description="respect POSIX ACLs (system.posix_acl_access and _default)")
    snapshot_folder: bool = Field(
        default=False, description="whether clients can enter the snapshots' folder (.snap), and make snapshots there"
    )
    take_over: bool = Field(
        default=True,
        description="end what a crashed server has left of this share at once, rather than after Ceph's timeout",
    )
    layout: CephLayout = Field(default_factory=CephLayout, description="how the data of new files is laid out")
    settings: dict[str, str] = Field(default_factory=dict, description="options of Ceph's client, as in ceph.conf")

    def configuration(self) -> str:
        """The configuration file."""
        return self.conf or f"/etc/ceph/{self.cluster}.conf"

    def client_settings(self) -> dict[str, str]:
        """What Ceph's client is told besides its configuration file."""
        told = {
            "client_mount_timeout": f"{self.mount_seconds:g}",
            "client_permissions": "true",
            "client_reconnect_stale": "true",
        }
        if self.cluster != "ceph":
            told["keyring"] = f"/etc/ceph/{self.cluster}.client.{self.user}.keyring,/etc/ceph/{self.cluster}.keyring"
        if self.keyring:
            told["keyring"] = self.keyring
        if self.write_cache == "write-through":
            told["client_oc_max_dirty"] = "0"
        if self.posix_acls:
            told["client_acl_type"] = "posix_acl"
        return told | self.settings
