"""The shipped pytest plugin, which the project's own configuration does not load by itself."""

from lamina.core.pytest_plugin import lamina_server, lamina_server_factory

__all__ = ["lamina_server", "lamina_server_factory"]
