"""The panel of `lamina serve`: what it tells, and commands that can be pasted."""

import shlex

from lamina.core.panel import Described, commands, facts


def described(**changes: object) -> Described:
    values: dict[str, object] = {
        "shares": {"data": "/srv/data"},
        "addresses": ["192.0.2.7", "198.51.100.1"],
        "port": 4445,
        "user": "lamina",
        "password": "ab12-cd34",
    }
    return Described(**(values | changes))  # type: ignore[arg-type]


def command(server: Described, client: str) -> str:
    return next(text for title, text in commands(server) if title.startswith(client))


def test_each_kind_of_client_has_a_command() -> None:
    titles = [title.split(" ")[0].rstrip(",") for title, _ in commands(described())]
    assert titles == ["smbclient", "Linux", "Windows", "macOS", "Python"]


def test_another_port_is_part_of_every_command() -> None:
    assert all("4445" in text for _, text in commands(described()))
    assert not any("445" in text for _, text in commands(described(port=445)))


def test_smbclient() -> None:
    assert command(described(), "smbclient") == "smbclient //192.0.2.7/data -p 4445 -U lamina%ab12-cd34"


def test_mount() -> None:
    assert command(described(), "Linux") == (
        "sudo mount -t cifs //192.0.2.7/data /mnt -o username=lamina,password=ab12-cd34,port=4445"
    )
    assert command(described(encrypt=True), "Linux").endswith(",seal")


def test_windows_is_told_that_older_ones_need_445() -> None:
    title, text = next((title, text) for title, text in commands(described()) if title.startswith("Windows"))
    assert "24H2" in title
    assert text == r"net use Z: \\192.0.2.7\data ab12-cd34 /user:lamina /TCPPORT:4445"
    title, text = next((title, text) for title, text in commands(described(port=445)) if title.startswith("Windows"))
    assert title == "Windows"
    assert text == r"net use Z: \\192.0.2.7\data ab12-cd34 /user:lamina"


def test_finder() -> None:
    assert command(described(), "macOS") == "smb://lamina@192.0.2.7:4445/data"
    assert command(described(shares={"my data": "/x"}, port=445), "macOS") == "smb://lamina@192.0.2.7/my%20data"


def test_python_is_a_whole_program() -> None:
    words = shlex.split(command(described(), "Python"))
    assert words[:2] == ["python3", "-c"]
    compile(words[2], "pasted", "exec")
    assert "listdir('//192.0.2.7/data', username='lamina', password='ab12-cd34', port=4445)" in words[2]


def test_an_address_of_version_6_is_spelled_as_each_client_wants_it() -> None:
    server = described(addresses=["2001:db8::1"])
    assert r"\\2001-db8--1.ipv6-literal.net\data" in command(server, "Windows")
    assert "[2001:db8::1]:4445" in command(server, "macOS")


def test_names_with_spaces_and_quotes_survive_the_shell() -> None:
    server = described(shares={"my 'data'": "/x"}, user="o'neil")
    assert shlex.split(command(server, "smbclient"))[1] == "//192.0.2.7/my 'data'"
    assert shlex.split(command(server, "smbclient"))[-1] == "o'neil%ab12-cd34"
    program = shlex.split(command(server, "Python"))[2]
    compile(program, "pasted", "exec")


def test_a_password_that_the_person_chose_is_not_shown() -> None:
    server = described(password="")
    assert dict(facts(server))["password"] == "as you gave it"
    assert command(server, "smbclient").endswith("-U lamina")
    assert " * /user:lamina" in command(server, "Windows")


def test_every_user_is_named_with_the_password_that_was_made_up() -> None:
    told = facts(described(others={"bob": "ef56", "carol": ""}))
    assert [text for title, text in told if title == "user"] == ["lamina", "bob", "carol"]
    assert [text for title, text in told if title == "password"] == ["ab12-cd34", "ef56", "as you gave it"]


def test_whose_the_files_are_is_told_where_it_may_surprise() -> None:
    assert dict(facts(described(owner="alice")))["files"] == "belong to alice"
    assert "files" not in dict(facts(described()))


def test_the_facts_name_shares_addresses_user_and_mode() -> None:
    told = dict(facts(described(read_only=True, guest=True)))
    assert told["share"] == "data  →  /srv/data"
    assert told["address"] == "192.0.2.7, 198.51.100.1   port 4445"
    assert told["user"] == "lamina"
    assert told["mode"] == "read-only, guests admitted"
    assert "mode" not in dict(facts(described()))
