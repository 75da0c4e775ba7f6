"""What the server does for every module: a log, numbers, events, health, storage, and a look at the request.

A module reaches all but the last as attributes of itself: `self.log`, `self.metrics`, `self.announce(…)`,
`self.health`, `self.storage`, `self.shared`, `self.turn(…)`. Each is made when it is first used, and costs nothing
before. The request being done is `current_request()`.
"""

from lamina.vfs_modules.services.health import Health, HealthReport, HealthState
from lamina.vfs_modules.services.log import ModuleLog
from lamina.vfs_modules.services.metrics import Counter, Gauge, Histogram, Metrics, MetricSample
from lamina.vfs_modules.services.module_services import ModuleServices
from lamina.vfs_modules.services.request_view import OpenView, RequestView, current_request, pretend
from lamina.vfs_modules.services.shared import SharedValues, Values
from lamina.vfs_modules.services.storage import Storage

__all__ = [
    "Counter",
    "Gauge",
    "Health",
    "HealthReport",
    "HealthState",
    "Histogram",
    "MetricSample",
    "Metrics",
    "ModuleLog",
    "ModuleServices",
    "OpenView",
    "RequestView",
    "SharedValues",
    "Storage",
    "Values",
    "current_request",
    "pretend",
]
