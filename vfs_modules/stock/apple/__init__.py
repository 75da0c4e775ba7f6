"""What Macs keep beside a file, in the forms that macOS, Netatalk and Samba write: for the module `fruit`."""
