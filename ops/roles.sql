-- The hub works as sluice_app, which may add to the journals and never change them. Roles belong to the whole server,
-- so another database on it may have made this one already.
DO $$
BEGIN
    CREATE ROLE sluice_app NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('GRANT sluice_app TO %I', current_user);
EXCEPTION
    WHEN unique_violation THEN NULL; -- granted meanwhile by another database's migration
END
$$;
GRANT USAGE ON SCHEMA public TO sluice_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO sluice_app;
GRANT INSERT ON ALL TABLES IN SCHEMA public TO sluice_app;
GRANT UPDATE ON book, account, day_sum, hold, position, payee, split, bank_link, bank_file, settlement, instruction,
    payout_schedule, payout_bank, merchant, api_key, channel_account, payment, attempt, refund, chargeback,
    cashier_link, heartbeat, case_file, approval, statement_file, run, discrepancy, closing, timetable,
    timetable_missed, claim, split_attachment, own_payee, account_use, payout_reserve, rail_receiver, rail_payment,
    share_order, share_return, payee_account, withdrawal_limit, withdrawal_use, withdrawal, bank_account,
    account_opening, recall TO sluice_app;
GRANT UPDATE (status, status_at) ON person TO sluice_app;
GRANT UPDATE (sealed) ON certificate_key TO sluice_app;
GRANT UPDATE (versions, active) ON split_plan TO sluice_app;
GRANT UPDATE (status, checker, status_at) ON split_plan_version TO sluice_app;
GRANT DELETE ON claim TO sluice_app; -- idempotency keys are kept a week, then forgotten
GRANT DELETE ON timetable_missed TO sluice_app; -- until it is done after all
