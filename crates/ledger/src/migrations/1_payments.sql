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
