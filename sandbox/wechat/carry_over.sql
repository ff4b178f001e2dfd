-- Moves the books of a store from before WeChat Pay was on the shared core into the core's. Run once, as one transaction,
-- with schema.sql in the place of the line that names it.

CREATE TEMP TABLE moved AS SELECT
    (SELECT coalesce(max(trade_id), 0) FROM acquirer_trade) AS trades,
    (SELECT coalesce(max(refund_id), 0) FROM acquirer_refund) AS refunds,
    (SELECT coalesce(max(seq), 0) FROM acquirer_notice) AS notices;

INSERT INTO acquirer_merchant
    (rail, merchant, seq, name, fee_bp, fixed_fee_minor, settle_to, extra, closed_through)
SELECT 'wechat', mchid, CAST(mchid AS INTEGER) - 1900000000, name, fee_bp, 0, settle_to,
    json_object('appid', appid, 'serial_no', serial_no, 'certificate_pem', CAST(certificate_pem AS TEXT),
        'apiv3_key', apiv3_key, 'public_key_only', json(iif(public_key_only, 'true', 'false'))),
    closed_through
FROM wechat_merchant;

INSERT INTO acquirer_trade
    (rail, trade_id, merchant, order_no, product, params, amount, currency, fee_bp, fixed_fee_minor, hold, notify_url,
     token, extra, state, closed_by, refusal, payer, created_ms, expires_ms, trade_ref, charge_ref, paid_ms, bill_date,
     paid, fee, refunded)
SELECT 'wechat', t.trade_id + trades, mchid, out_trade_no, product, CAST(request AS TEXT), total, 'CNY', fee_bp, 0, 0,
    notify_url, token,
    json_object('appid', appid, 'description', description, 'attach', attach, 'device_id', device_id,
        'key_id', key_id, 'openid', openid, 'coupons', json(coalesce(coupons, '[]')),
        'shared', json(iif(json_extract(CAST(request AS TEXT), '$.settle_info.profit_sharing') = 1, 'true', 'false')),
        'combined', json(iif(t.trade_id IN (SELECT trade_id FROM wechat_combine_part), 'true', 'false')),
        'revoked', json(iif(state = 'REVOKED', 'true', 'false'))),
    CASE WHEN state IN ('NOTPAY', 'USERPAYING') THEN 'open' WHEN transaction_id IS NULL THEN 'closed'
        WHEN state = 'REVOKED' THEN 'reversed' ELSE 'paid' END,
    CASE state WHEN 'CLOSED' THEN 'merchant' WHEN 'PAYERROR' THEN 'declined' END,
    refusal, iif(transaction_id IS NULL, NULL, openid), created_ms, expires_ms, token, transaction_id, success_ms,
    bill_date, iif(transaction_id IS NULL, 0, total), fee, refunded
FROM wechat_trade t, moved;

INSERT INTO acquirer_refund
    (rail, refund_id, merchant, refund_no, trade_id, params, amount, fee_back, reason, notify_url, extra, status,
     refund_ref, created_ms, settles_ms, success_ms, bill_date, billed_status)
SELECT 'wechat', seq + refunds, mchid, out_refund_no, trade_id + trades, coalesce(CAST(request AS TEXT), ''), amount,
    fee_back, reason, notify_url, json_object('key_id', key_id, 'coupons', json(coalesce(coupons, '[]'))),
    CASE status WHEN 'PROCESSING' THEN 'pending' WHEN 'SUCCESS' THEN 'success' ELSE 'failed' END,
    refund_id, created_ms, settles_ms, success_ms, bill_date,
    CASE billed_status WHEN 'PROCESSING' THEN 'pending' WHEN 'SUCCESS' THEN 'success' WHEN 'ABNORMAL' THEN 'failed' END
FROM wechat_refund, moved;

INSERT INTO acquirer_flow
    (rail, merchant, currency, at_ms, bill_date, kind, amount, trade_id, refund_id, extra)
SELECT 'wechat', f.mchid, 'CNY', f.at_ms, f.bill_date, f.kind, f.amount, coalesce(t.trade_id, r.trade_id) + trades,
    r.seq + refunds,
    iif(f.kind = 'settlement', json_object('end_to_end_id', f.business_no),
        json_object('business_no', f.business_no, 'voucher_no', f.voucher_no))
FROM moved, wechat_flow f
LEFT JOIN wechat_trade t ON t.transaction_id = f.business_no
LEFT JOIN wechat_refund r ON r.refund_id = f.business_no
ORDER BY f.seq;

INSERT INTO acquirer_day (rail, merchant, date, net, settle_to, booking_date, closed_ms)
SELECT 'wechat', mchid, date, net, settle_to, booking_date, closed_ms FROM wechat_day;

INSERT INTO acquirer_notice
    (rail, seq, notice_id, merchant, event, order_no, refund_no, url, content, state, attempts, created_ms, next_ms)
SELECT 'wechat', n.rowid + notices, notice_id, mchid,
    CASE event_type WHEN 'TRANSACTION.SUCCESS' THEN 'paid' WHEN 'REFUND.SUCCESS' THEN 'refunded' ELSE 'refund_failed' END,
    out_trade_no, out_refund_no, url,
    json_object('event_type', event_type, 'plain', json(CAST(plain AS TEXT)), 'key_id', key_id),
    state, attempts, 1000 * CAST(strftime('%s', json_extract(CAST(body AS TEXT), '$.create_time')) AS INTEGER), next_ms
FROM wechat_notice n, moved;

INSERT INTO acquirer_notice_attempt (notice_seq, what, at_ms, http_status, problem)
SELECT n.rowid + notices, what, at_ms, http_status, problem
FROM wechat_notice_attempt a JOIN wechat_notice n USING (notice_id), moved ORDER BY a.seq;

-- What stays WeChat Pay's own and names a trade.
CREATE TEMP TABLE old_code AS SELECT auth_code FROM wechat_trade WHERE auth_code IS NOT NULL;
CREATE TEMP TABLE old_frozen AS SELECT trade_id + trades, frozen, requests FROM wechat_frozen, moved;
CREATE TEMP TABLE old_share AS SELECT share_id, order_id, mchid, out_order_no, trade_id + trades,
    CAST(request AS TEXT), state, created_ms, settles_ms FROM wechat_share, moved;
CREATE TEMP TABLE old_part AS SELECT trade_id + trades, combine_id, position FROM wechat_combine_part, moved;
DROP TABLE wechat_notice_attempt;
DROP TABLE wechat_notice;
DROP TABLE wechat_flow;
DROP TABLE wechat_day;
DROP TABLE wechat_refund;
DROP TABLE wechat_frozen;
DROP TABLE wechat_share;
DROP TABLE wechat_combine_part;
DROP TABLE wechat_trade;
DROP TABLE wechat_merchant;
-- schema.sql
INSERT INTO wechat_auth_code SELECT * FROM old_code;
INSERT INTO wechat_frozen SELECT * FROM old_frozen;
INSERT INTO wechat_share SELECT * FROM old_share;
INSERT INTO wechat_combine_part SELECT * FROM old_part;
UPDATE wechat_share_return SET request = CAST(request AS TEXT);
UPDATE wechat_combine SET request = CAST(request AS TEXT);
DROP TABLE temp.moved;
DROP TABLE temp.old_code;
DROP TABLE temp.old_frozen;
DROP TABLE temp.old_share;
DROP TABLE temp.old_part;
