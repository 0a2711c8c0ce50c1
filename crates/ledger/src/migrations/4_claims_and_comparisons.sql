-- What facilitators say is settled, kept as what was earned is: a row when one says so, and one, of the
-- same time, when it is no claim any more. A payment that is found in another block left the one before.
-- And what the last comparison with each chain came to, by each endpoint.
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
