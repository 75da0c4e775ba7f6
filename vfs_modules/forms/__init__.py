"""What modules keep on disk, byte for byte: pure codecs, in the forms that Samba and Linux read."""
