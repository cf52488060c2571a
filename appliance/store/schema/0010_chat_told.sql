-- When many want to chat in one moment, the store pairs those who wait; who does not know it yet is told at
-- their next turn or alarm.
ALTER TABLE chat_member ADD COLUMN told INTEGER NOT NULL DEFAULT 1;
