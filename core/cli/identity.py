"""`lamina id`: who a name, a SID or an id is to a server, and why."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamina.core.cli.accounts import open_accounts
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import write
from lamina.core.cli.running import DEFAULT_CONFIG, ConfigOption, load_configuration
from lamina.core.identity.explain import explain
from lamina.core.identity.identities import Identities


def identity(
    who: Annotated[
        str, Parameter(name="WHO", help="A name (alice, LAMAD\\\\Domain Users), a SID, or the number of a uid or gid.")
    ],
    /,
    *,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say which SID, uid and gid somebody has on the server of a configuration file, and why.

    It asks as the server does: the accounts, [identity] of the configuration, and the system's name service.
    """
    configuration = load_configuration(Path(config))
    accounts = open_accounts(configuration.accounts)
    try:
        identities = Identities(accounts, configuration.authentication.identity)
        for line in explain(identities, who):
            write(line)
    except (LookupError, OSError) as error:
        raise CliError(str(error.args[0] if isinstance(error, LookupError) else error)) from error
    finally:
        accounts.close()
