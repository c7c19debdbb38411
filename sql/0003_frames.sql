-- A frame's path is looked up by its session and number: without this each look reads all of packet_info.

CREATE INDEX IF NOT EXISTS packet_info_by_frame ON packet_info (session_id, sequence);
