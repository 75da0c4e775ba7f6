"""What several worker processes of one server share: the records of open files, and messages from one to another."""
