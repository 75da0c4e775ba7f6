"""The structures of MS-FSCC, packed and parsed: information about files, directories and file systems.

Pure: values in, bytes out, and back. Times are FILETIME, sizes bytes, names `str`. A parser raises NtStatusError and
nothing else, whatever it is given.
"""
