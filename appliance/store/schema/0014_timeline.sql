-- The line of time that the stored moments lie on: see appliance/clock.py. One row.
CREATE TABLE timeline (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    boot      TEXT NOT NULL,    -- the kernel's boot_id
    base_ms   INTEGER NOT NULL, -- this box's time at the boot
    system_ms INTEGER NOT NULL, -- the system clock's time at the boot
    network   INTEGER NOT NULL, -- 1: the difference is the mobile network's word
    known     INTEGER NOT NULL, -- 1: NTP or a network has confirmed the time in this boot
    since_ms  INTEGER NOT NULL  -- stored times before it are of an earlier boot
) STRICT;
