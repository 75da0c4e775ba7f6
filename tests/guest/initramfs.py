"""What the guest's kernel begins with: an archive with busybox, modules, and the program `init`.

The archive is cpio's "newc", which the kernel reads (Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from collections.abc import Iterable

INIT = """#!/bin/busybox sh
# Makes the host's files this machine's own, beneath a layer that forgets, runs /command there, and ends.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
while read -r module; do insmod "/modules/$module" || echo "no module $module"; done </order

# The ports of the host's end, by name.
for port in /sys/class/virtio-ports/*; do
    case $(cat "$port/name") in
    output) exec 3>"/dev/${port##*/}" ;;
    status) exec 4>"/dev/${port##*/}" ;;
    esac
done
echo started >&4

mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /host
mount -t tmpfs layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work,xino=off overlay /new || exit
mkdir /new/scratch-disk
mount -t ext4 -o user_xattr,acl,noatime /dev/vda /new/scratch-disk
chmod 1777 /new/scratch-disk
for folder in proc sys dev; do mount --move "/$folder" "/new/$folder"; done
mkdir -p /new/dev/shm /new/dev/pts
mount -t tmpfs -o mode=1777 shm /new/dev/shm
mount -t devpts devpts /new/dev/pts
ln -s /proc/self/fd /new/dev/fd
cp /command /new/scratch-disk/command
ip link set lo up
hostname guest

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TMPDIR=/scratch-disk
/bin/busybox chroot /new /bin/sh /scratch-disk/command >&3 2>&1 </new/dev/null 3>&- 4>&-
echo "ended $?" >&4
/bin/busybox sync
/bin/busybox poweroff -f
"""

_FOLDERS = ("bin", "modules", "proc", "sys", "dev", "host", "layer", "new")
_FOLDER, _PROGRAM = 0o040755, 0o100755


def initramfs(busybox: bytes, modules: Iterable[tuple[str, bytes]], command: str) -> bytes:
    """The archive; `modules` in the order in which they are loaded, `command` a shell script."""
    parts = [_entry(name, _FOLDER) for name in _FOLDERS]
    parts.append(_entry("bin/busybox", _PROGRAM, busybox))
    order = []
    for name, content in modules:
        order.append(f"{name}\n")
        parts.append(_entry(f"modules/{name}", _PROGRAM, content))
    parts.append(_entry("order", _PROGRAM, "".join(order).encode()))
    parts.append(_entry("command", _PROGRAM, command.encode()))
    parts.append(_entry("init", _PROGRAM, INIT.encode()))
    return b"".join([*parts, _entry("TRAILER!!!", 0)])


def _entry(name: str, mode: int, content: bytes = b"") -> bytes:
    encoded = name.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device, device of a node, length of the name, checksum
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + encoded
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
