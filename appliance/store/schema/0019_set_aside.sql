-- The page lists what was set aside, however much came in.
CREATE INDEX inbound_set_aside ON inbound (id) WHERE state = 'set_aside';
