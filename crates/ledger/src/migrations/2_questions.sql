-- Facilitators of others settle, too: what each is asked, and what it says.
ALTER TABLE payments ADD COLUMN claim BLOB;

CREATE TABLE questions (
    payment     INTEGER PRIMARY KEY REFERENCES payments (id),
    body        BLOB NOT NULL,
    facilitator TEXT,
    puts        INTEGER NOT NULL DEFAULT 0
) STRICT;

DROP INDEX entitled;
CREATE INDEX entitled ON payments (payer, fingerprint) WHERE delivery = 0 AND state >= 2 AND state <> 7 AND state <> 8;
CREATE INDEX claimed ON payments (chain) WHERE state = 9;
