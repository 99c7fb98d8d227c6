-- What the rebuild of an event in Redis needs (docs/architecture.md): who
-- rebuilds it, which apis are alive, and who has seen its fence.

-- One rebuilder per event, for as long as it renews.
CREATE TABLE event_rebuild (
    coupon_id  bigint PRIMARY KEY REFERENCES coupon (id),
    holder     text NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE api_instance (
    instance_id text PRIMARY KEY,
    seen_at     timestamptz NOT NULL
);

-- This api has no reply and no message of the event from before `epoch`.
CREATE TABLE fence_ack (
    coupon_id   bigint NOT NULL REFERENCES coupon (id),
    instance_id text NOT NULL
                REFERENCES api_instance (instance_id) ON DELETE CASCADE,
    epoch       bigint NOT NULL,
    PRIMARY KEY (coupon_id, instance_id)
);
