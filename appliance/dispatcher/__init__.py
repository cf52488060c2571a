"""Who handles which message when: mailboxes, worker processes and what passes between.

A worker process imports this package, so nothing is imported here.
"""
