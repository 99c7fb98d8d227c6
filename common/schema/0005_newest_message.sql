-- Kafka's time (unix ms) of the newest message before next_offset, -1 while
-- none is known.  A topic that holds a newer one there is not the topic that
-- was consumed: it was deleted and created anew.
ALTER TABLE consumer_offset ADD COLUMN newest_ms bigint NOT NULL DEFAULT -1;
