"""The backend for folders of this machine."""
