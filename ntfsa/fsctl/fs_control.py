"""File-system control codes (MS-FSA 2.1.5.10 Server Requests an FsControl Request, MS-FSCC 2.3): which there are."""

from collections.abc import Callable
from typing import Final

from lamina.ntfsa import constants as c
from lamina.ntfsa.borders import translated
from lamina.ntfsa.context import NtContext
from lamina.ntfsa.extensions import module_control
from lamina.ntfsa.fsctl import object_id, offload, reparse, sparse, storage_state
from lamina.ntfsa.fsctl.control import NOTHING, Control
from lamina.ntfsa.open_state import NtOpen
from lamina.ntfsa.result import Information


def _is_pathname_valid(control: Control) -> Information:
    """MS-FSA 2.1.5.10.17: always answered with success."""
    return NOTHING


CODES: Final[dict[int, Callable[[Control], Information]]] = {
    c.FSCTL_CREATE_OR_GET_OBJECT_ID: object_id.create_or_get_object_id,
    c.FSCTL_GET_OBJECT_ID: object_id.get_object_id,
    c.FSCTL_SET_OBJECT_ID: object_id.set_object_id,
    c.FSCTL_SET_OBJECT_ID_EXTENDED: object_id.set_object_id_extended,
    c.FSCTL_DELETE_OBJECT_ID: object_id.delete_object_id,
    c.FSCTL_GET_COMPRESSION: storage_state.get_compression,
    c.FSCTL_SET_COMPRESSION: storage_state.set_compression,
    c.FSCTL_GET_INTEGRITY_INFORMATION: storage_state.get_integrity,
    c.FSCTL_SET_INTEGRITY_INFORMATION: storage_state.set_integrity,
    c.FSCTL_SET_SPARSE: sparse.set_sparse,
    c.FSCTL_SET_ZERO_DATA: sparse.set_zero_data,
    c.FSCTL_QUERY_ALLOCATED_RANGES: sparse.query_allocated_ranges,
    c.FSCTL_FILE_LEVEL_TRIM: sparse.file_level_trim,
    c.FSCTL_QUERY_FILE_REGIONS: sparse.query_file_regions,
    c.FSCTL_OFFLOAD_READ: offload.offload_read,
    c.FSCTL_OFFLOAD_WRITE: offload.offload_write,
    c.FSCTL_GET_REPARSE_POINT: reparse.get_reparse_point,
    c.FSCTL_SET_REPARSE_POINT: reparse.set_reparse_point,
    c.FSCTL_DELETE_REPARSE_POINT: reparse.delete_reparse_point,
    c.FSCTL_IS_PATHNAME_VALID: _is_pathname_valid,
}
"""The control codes that are served, and by what. Those of server-side copies belong to the protocol (`core`)."""


@translated
def fs_control(context: NtContext, open_: NtOpen, code: int, input_: memoryview, max_output: int) -> Information:
    """Run a control code of file systems. Raises INVALID_DEVICE_REQUEST (not served), BUFFER_TOO_SMALL."""
    control = CODES.get(code)
    if control is None:
        return module_control(context, open_, code, input_, max_output)
    return control(Control(context, open_, input_, max_output))
