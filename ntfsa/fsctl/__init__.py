"""The control codes of file systems by what they are about; `fs_control` finds the one that is asked for.

A control is a function of a `Control` that returns the output; it raises NtStatusError or OSError.
"""
