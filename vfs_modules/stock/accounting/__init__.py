"""What `quota` is made of: the ledger of who has how much and may have, the count of what there is, the options."""
