"""A small virtual machine with Debian's kernel, for tests that need more of a kernel than the one beneath them has.

`python -m tests.guest COMMAND` runs a command as root in it. `test_guest.py` runs the tests that are marked `guest`:
with quotas that ext4 and XFS keep, and with Linux's own SMB client.
"""
