-- What an operator did with messages of the dead-letter topic (consumer
-- --dead-letters); the messages themselves stay where they are.
CREATE TABLE dead_letter_mark (
    topic         text NOT NULL,
    partition     integer NOT NULL,
    letter_offset bigint NOT NULL,
    -- The message's own time: a topic created anew counts from 0 again.
    written_at    timestamptz NOT NULL,
    mark          text NOT NULL CHECK (mark IN ('REPLAYED', 'DISCARDED')),
    marked_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, letter_offset, written_at)
);
