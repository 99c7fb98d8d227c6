-- What one api does for all (api/role.h): who it is, for as long as it renews.
CREATE TABLE api_role (
    role       text PRIMARY KEY,
    holder     text NOT NULL,
    expires_at timestamptz NOT NULL
);
