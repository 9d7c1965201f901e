"""The ledger kept in order: lists, reasons, repair, the balance, retention."""
