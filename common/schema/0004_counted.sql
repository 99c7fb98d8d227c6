-- How many rows an event has is asked on every query of it.  Numbers 1 to
-- counted_to all have their row, so only those above are counted; an api
-- raises it now and then.  Rows never go away; if somebody deletes one all the
-- same, the counting starts over.
ALTER TABLE coupon ADD COLUMN counted_to bigint NOT NULL DEFAULT 0;

CREATE FUNCTION coupon_recount() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE coupon SET counted_to = 0 WHERE counted_to > 0;
    ELSE
        UPDATE coupon SET counted_to = 0
            WHERE id IN (SELECT coupon_id FROM gone);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER recount_after_delete AFTER DELETE ON user_coupon
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION coupon_recount();
CREATE TRIGGER recount_after_truncate AFTER TRUNCATE ON user_coupon
    FOR EACH STATEMENT EXECUTE FUNCTION coupon_recount();
