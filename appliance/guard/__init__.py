"""Who is not answered, and why: a guarded message is kept and shown, never dropped."""
