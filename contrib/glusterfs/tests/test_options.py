"""What the administrator may write."""

import pytest
from pydantic import ValidationError

from lamina_glusterfs.options import GlusterOptions, Place, place_of


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("gluster1", Place("tcp", "gluster1", 24007)),
        ("gluster1:24008", Place("tcp", "gluster1", 24008)),
        ("tcp+gluster1", Place("tcp", "gluster1", 24007)),
        ("192.0.2.1:1", Place("tcp", "192.0.2.1", 1)),
        ("[2001:db8::1]", Place("tcp", "2001:db8::1", 24007)),
        ("[2001:db8::1]:24008", Place("tcp", "2001:db8::1", 24008)),
        ("unix+/run/glusterd.socket", Place("unix", "/run/glusterd.socket", 0)),
    ],
)
def test_servers_are_understood(text: str, place: Place) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "a b", "a:0", "a:65536", "a:b", "2001:db8::1", "/run/socket", "a/b", "[::1"])
def test_what_is_no_server_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="write host"):
        place_of(text)
    with pytest.raises(ValidationError):
        GlusterOptions(servers=(text,))


def test_samba_s_names_and_ways_are_understood() -> None:
    options = GlusterOptions.model_validate(
        {
            "glusterfs:volume": "vol0",
            "glusterfs:volfile_server": "one two:24008, unix+/socket",
            "glusterfs:logfile": "/var/log/x.log",
            "glusterfs:loglevel": "7",
            "posix locking": True,
        }
    )
    assert (options.volume, options.log_file, options.log_level) == ("vol0", "/var/log/x.log", "info")
    assert options.servers == ("one", "two:24008", "unix+/socket")
    assert options.posix_locking


@pytest.mark.parametrize(("given", "root"), [("", ""), ("/", "/"), ("//a//b/", "/a/b"), ("/a", "/a")])
def test_a_root_is_a_folder_of_the_volume(given: str, root: str) -> None:
    assert GlusterOptions(root=given).root == root


@pytest.mark.parametrize("root", ["a", "/a/../b", "/.", "/a\0"])
def test_a_root_that_leads_elsewhere_is_refused(root: str) -> None:
    with pytest.raises(ValidationError):
        GlusterOptions(root=root)
