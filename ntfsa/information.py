"""Querying and setting information: the functions of this layer in one place, for its callers."""

from lamina.ntfsa.fscc.file_information import NetworkOpenInformation
from lamina.ntfsa.metadata.query_file import query_file
from lamina.ntfsa.metadata.query_filesystem import query_filesystem, set_filesystem
from lamina.ntfsa.metadata.quota import QuotaQuery, query_quota, set_quota
from lamina.ntfsa.metadata.set_file import set_file
from lamina.ntfsa.result import Information
from lamina.ntfsa.security.file_security import query_security, set_security

__all__ = [
    "Information",
    "NetworkOpenInformation",
    "QuotaQuery",
    "query_file",
    "query_filesystem",
    "query_quota",
    "query_security",
    "set_file",
    "set_filesystem",
    "set_quota",
    "set_security",
]
