"""A worker of `lamina run`: `python -m lamina.core.workers FILE JSON? SEAT`. Started by the supervisor only."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from lamina.core.cli.accounts import open_accounts
from lamina.core.cli.errors import CliError
from lamina.core.cli.foreground import set_up_log, sink
from lamina.core.config.diagnostics import ConfigurationError
from lamina.core.config.loading import load
from lamina.core.control import Command
from lamina.core.reload import Reloader, reload_command
from lamina.core.reporter import Reporter
from lamina.core.runtime import Runtime, StartError
from lamina.core.workers.seat import Seat
from lamina.core.workers.worker import Work, run_worker

log = logging.getLogger(__name__)


def main() -> int:
    """Serve what the configuration says until the supervisor ends; 1 where that cannot be begun."""
    config, as_json, seat = Path(sys.argv[1]), sys.argv[2] == "json", Seat.from_text(sys.argv[3])
    try:
        configuration = load(config, lambda share, modules: True)
        set_up_log(configuration.server.log_level, as_json or configuration.server.log_format == "json")

        def more(runtime: Runtime) -> Mapping[str, Command]:
            return {"reload": reload_command(Reloader(runtime, configuration, lambda _: None).reload)}

        work = Work(
            configuration.plan,
            open_accounts(configuration.accounts),
            configuration.authentication,
            Reporter(sink(as_json)),
            more,
        )
        run_worker(seat, work)
    except ConfigurationError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return 1
    except (StartError, CliError, OSError) as error:
        sys.stderr.write(f"worker {seat.number}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
