"""What must survive a power cut: one SQLite file, one writer, any number of readers.

Import from the modules (`appliance.store.store.Store`), not from here: worker processes import this
package's read side and must not pay for the rest.
"""
