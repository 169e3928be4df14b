"""Rows for the two accounts in the examples of docs/reporting.md."""

FILL = """
insert into projection select true, '00000000000000a1', system_identifier, timeline, 1 from server_identity;
insert into lane
values (0, 7, 8, 1, '00000000000000a1', true, null, null, null, null, '2026-02-01 10:00Z', now());
insert into balance (account_id, revision, lane, balance, scale, currency, version, transfer_id, client_id,
                     opening, posted_total, transfer_count, half_applied, drift, recorded_at)
values ('alice', 7, 0, 82.25, 2, 'EUR', 3, 't-3', 'client-1', 100.00, -17.75, 3, 0.00, 0.00, '2026-02-01Z'),
       ('bob', 8, 0, 17.75, 2, 'EUR', 3, 't-3', 'client-2', 0.00, 22.75, 4, 5.00, 0.00, '2026-02-01 10:00Z');
insert into transfer
values ('alice', 2, 't-1', -30.00, -30.00, '2026-01-30 09:00Z', '2026-01-30 09:00Z', 'transfers', 0, 0),
       ('bob', 2, 't-1', 30.00, 30.00, '2026-01-30 09:00Z', '2026-01-30 09:00Z', 'transfers', 0, 1),
       ('alice', 4, 't-2', 12.50, -17.50, '2026-01-31 23:59Z', '2026-01-31 23:59:59.999Z', 'transfers', 0, 2),
       ('bob', 4, 't-2', -12.50, 17.50, '2026-01-31 23:59Z', '2026-01-31 23:59:59.999Z', 'transfers', 0, 3),
       ('alice', 6, 't-3', -0.25, -17.75, '2026-01-31 23:59Z', '2026-02-01Z', 'transfers', 0, 4),
       ('bob', 6, 't-3', 0.25, 17.75, '2026-01-31 23:59Z', '2026-02-01Z', 'transfers', 0, 5),
       ('bob', 8, 't-4', 5.00, 22.75, '2026-02-01 10:00Z', '2026-02-01 10:00Z', 'transfers', 0, 6);
"""
