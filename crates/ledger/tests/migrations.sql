-- 1

CREATE TABLE ledger (id TEXT NOT NULL) STRICT;
INSERT INTO ledger VALUES (lower(hex(randomblob(8))));

CREATE TABLE payments (
    id              INTEGER PRIMARY KEY,
    chain           INTEGER NOT NULL,
    asset           BLOB    NOT NULL,
    method          INTEGER NOT NULL,
    payer           BLOB    NOT NULL,
    nonce           BLOB    NOT NULL,
    payee           BLOB    NOT NULL,
    amount          BLOB    NOT NULL,
    call            BLOB    NOT NULL,
    factory         BLOB,
    factory_data    BLOB,
    valid_before    INTEGER NOT NULL,
    offer_namespace TEXT    NOT NULL,
    offer_name      TEXT    NOT NULL,
    state           INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    reservation     INTEGER NOT NULL,
    delivery        INTEGER NOT NULL,
    fingerprint     BLOB    NOT NULL,
    client          BLOB    NOT NULL,
    held_until      INTEGER NOT NULL,
    owner           INTEGER NOT NULL,
    verified_block  INTEGER NOT NULL,
    batch           INTEGER REFERENCES batches (id),
    batch_cap       INTEGER NOT NULL DEFAULT 0,
    misses          INTEGER NOT NULL DEFAULT 0,
    retry_at        INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    tx              BLOB,
    block           INTEGER,
    block_hash      BLOB,
    block_time      INTEGER,
    log_index       INTEGER,
    created_at      INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX payment_key ON payments (payer, nonce, asset, chain, method);
CREATE INDEX open_by_payer ON payments (payer, asset, chain) WHERE state <= 5 AND state <> 1;
CREATE INDEX due ON payments (chain, retry_at) WHERE state = 2;
CREATE INDEX moving ON payments (chain, state) WHERE state >= 3 AND state <= 5;
CREATE INDEX reserved ON payments (held_until) WHERE state = 0;
CREATE INDEX entitled ON payments (payer, fingerprint) WHERE delivery = 0 AND state >= 2 AND state <> 7 AND state <> 8;
CREATE INDEX failed_by_payer ON payments (payer, asset, chain, changed_at) WHERE state = 7;
CREATE INDEX exposed_by_offer ON payments (offer_namespace, offer_name, asset, chain, amount)
    WHERE delivery <> 0 AND state >= 2 AND state <= 4;
CREATE INDEX lost_by_offer ON payments (offer_namespace, offer_name, asset, chain, payer, amount) WHERE state = 7 AND delivery <> 0;
CREATE INDEX delivering ON payments (owner) WHERE delivery = 1;
CREATE INDEX by_batch ON payments (batch) WHERE batch IS NOT NULL;

CREATE TABLE payees (
    chain INTEGER NOT NULL,
    asset BLOB    NOT NULL,
    payee BLOB    NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (chain, asset, payee)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    payment    INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    who        TEXT    NOT NULL,
    state_from INTEGER,
    state_to   INTEGER NOT NULL,
    delivery   INTEGER NOT NULL,
    why        TEXT    NOT NULL,
    PRIMARY KEY (payment, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE owners (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT    NOT NULL,
    beat INTEGER NOT NULL
) STRICT;

CREATE TABLE leases (
    chain      INTEGER NOT NULL,
    settler    BLOB    NOT NULL,
    holder     TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (chain, settler)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    id         INTEGER PRIMARY KEY,
    chain      INTEGER NOT NULL,
    settler    BLOB    NOT NULL,
    nonce      INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    block      INTEGER,
    block_hash BLOB,
    tx         BLOB,
    created_at INTEGER NOT NULL,
    UNIQUE (chain, settler, nonce)
) STRICT;
CREATE INDEX live_batches ON batches (chain, settler) WHERE state IN (0, 1);

CREATE TABLE attempts (
    batch      INTEGER NOT NULL REFERENCES batches (id),
    attempt    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    raw        BLOB    NOT NULL,
    max_fee    BLOB    NOT NULL,
    tip        BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    taken_at   INTEGER,
    PRIMARY KEY (batch, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE scans (
    chain INTEGER PRIMARY KEY,
    block INTEGER NOT NULL
) STRICT;
-- 2

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
-- 3

CREATE TABLE charges (
    seq     INTEGER PRIMARY KEY,
    payment INTEGER NOT NULL REFERENCES payments (id),
    kind    INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX first_charge ON charges (payment) WHERE kind = 0;

CREATE TABLE spendings (
    seq     INTEGER PRIMARY KEY,
    batch   INTEGER NOT NULL UNIQUE REFERENCES batches (id),
    wei     BLOB    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

INSERT INTO charges (payment, kind, at)
    SELECT p.id, 0, coalesce(p.block_time, min(e.at) / 1000) AS at
    FROM payments p JOIN events e ON e.payment = p.id AND e.state_to = 5
    GROUP BY p.id ORDER BY at, p.id;
INSERT INTO charges (payment, kind, at)
    SELECT c.payment, 1, p.changed_at / 1000 FROM charges c JOIN payments p ON p.id = c.payment
    WHERE NOT (state >= 5 AND state <= 6);

CREATE TRIGGER charged AFTER UPDATE OF state ON payments WHEN NEW.state IN (5, 6) AND OLD.state NOT IN (5, 6)
BEGIN
    INSERT INTO charges (payment, kind, at) VALUES (
        NEW.id,
        CASE WHEN EXISTS (SELECT 1 FROM charges WHERE payment = NEW.id AND kind = 0) THEN 2 ELSE 0 END,
        coalesce(NEW.block_time, NEW.changed_at / 1000)
    );
END;
CREATE TRIGGER reversed AFTER UPDATE OF state ON payments WHEN OLD.state IN (5, 6) AND NEW.state NOT IN (5, 6)
BEGIN
    INSERT INTO charges (payment, kind, at) VALUES (NEW.id, 1, NEW.changed_at / 1000);
END;

DROP INDEX exposed_by_offer;
CREATE INDEX exposed_by_offer
    ON payments (offer_namespace, offer_name, asset, chain, amount, created_at) WHERE delivery <> 0 AND state >= 2 AND state <= 4;
-- 4

CREATE TABLE claims (
    seq     INTEGER PRIMARY KEY,
    payment INTEGER NOT NULL REFERENCES payments (id),
    stands  INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX claims_of_payment ON claims (payment);

INSERT INTO claims (payment, stands, at)
    SELECT p.id, 1, coalesce(max(e.at), p.changed_at) / 1000
    FROM payments p LEFT JOIN events e ON e.payment = p.id AND e.state_to = 9 AND e.state_from <> 9 WHERE state = 9
    GROUP BY p.id ORDER BY p.id;

CREATE TRIGGER claimed AFTER UPDATE OF state ON payments WHEN NEW.state = 9 AND OLD.state <> 9
BEGIN
    INSERT INTO claims (payment, stands, at) VALUES (NEW.id, 1, NEW.changed_at / 1000);
END;
CREATE TRIGGER claimed_no_more AFTER UPDATE OF state ON payments WHEN OLD.state = 9 AND NEW.state <> 9
BEGIN
    INSERT INTO claims (payment, stands, at)
        SELECT payment, 0, at FROM claims WHERE payment = NEW.id ORDER BY seq DESC LIMIT 1;
END;

INSERT INTO charges (payment, kind, at)
    SELECT p.id, row.kind, CASE row.kind WHEN 1 THEN p.changed_at / 1000 ELSE p.block_time END
    FROM payments p JOIN (SELECT payment, at, max(seq) FROM charges GROUP BY payment) c ON c.payment = p.id
        JOIN (SELECT 1 AS kind UNION ALL SELECT 2) row
    WHERE p.state IN (5, 6) AND p.block_time IS NOT NULL AND c.at <> p.block_time ORDER BY p.id, row.kind;
CREATE TRIGGER moved AFTER UPDATE OF block_time ON payments
    WHEN NEW.state IN (5, 6) AND OLD.state IN (5, 6) AND NEW.block_time IS NOT OLD.block_time
BEGIN
    INSERT INTO charges (payment, kind, at) VALUES (NEW.id, 1, NEW.changed_at / 1000);
    INSERT INTO charges (payment, kind, at) VALUES (NEW.id, 2, NEW.block_time);
END;

CREATE TABLE comparisons (
    chain        INTEGER NOT NULL,
    endpoint     TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    payments     INTEGER NOT NULL,
    unattributed INTEGER NOT NULL,
    PRIMARY KEY (chain, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TABLE drifts (
    chain        INTEGER NOT NULL,
    endpoint     TEXT    NOT NULL,
    asset        BLOB    NOT NULL,
    ledger_only  BLOB    NOT NULL,
    chain_only   BLOB    NOT NULL,
    unattributed BLOB    NOT NULL,
    PRIMARY KEY (chain, endpoint, asset)
) STRICT, WITHOUT ROWID;
