-- What was earned and spent, in the order in which it came to be known: rows are added, and never
-- changed, so that sums can be kept up to date by reading what is new. Rows are numbered in the order
-- in which they are committed, which holds because there is one writer at a time: a database with
-- several has to number them under one lock. Triggers write them: a process of an earlier version that
-- still runs on the ledger keeps the journal, too. src/journal.rs says what the kinds are.
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
