"""What `virus_scan` is made of: clamd's protocol and who speaks it, verdicts that are kept, quarantine."""
