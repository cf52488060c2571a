"""Payments: telebirr's API, receipts by SMS, cash at an agent; one ledger for all of them."""
