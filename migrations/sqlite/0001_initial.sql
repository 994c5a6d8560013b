-- Times are unix milliseconds. Money is base units in decimal text, never added or compared in SQL.
-- Hashes and addresses are blobs; the v_ views at the end show them to people.

-- Chains: how far each is, who leads it, and the window of headers that a reorg is measured against.

create table chain (
    chain bigint primary key,
    genesis blob not null,
    start_number bigint not null,
    read_number bigint,
    read_hash blob,
    settled_number bigint,
    settled_hash blob,
    settled_time bigint not null default 0,
    -- The tiers above the lowest, in order, as JSON; and the names of all that they were settled by.
    upper_tiers text not null default '[]',
    policy text not null default '',
    finalized_number bigint,
    finalized_hash blob,
    absent_time bigint not null default 0,
    -- Why nothing new counts: JSON with since when and why; null while all is well.
    stalled text,
    quarantined text
);

-- What one instance at a time does: lead a chain ("chain:<id>"), deliver events ("webhook:<name>"). `fence` counts the
-- holders, `beat` the transactions of the chain, `pulse` the holder's signs of life between two of them. No holder: free.
create table lease (
    role text primary key,
    fence bigint not null,
    beat bigint not null,
    pulse bigint not null,
    holder text,
    label text
);

create table header (
    chain bigint not null,
    number bigint not null,
    hash blob not null,
    parent_hash blob not null,
    time bigint not null,
    primary key (chain, number)
);

-- Money.

create table charge (
    id text primary key,
    tenant text not null,
    user_id text,
    product text not null,
    chain bigint not null,
    token blob not null,
    treasury blob not null,
    price text not null,
    -- What became of the price: its unit, the token's decimals, credit set aside and unused time in 10^-18 of the unit.
    unit text not null,
    decimals bigint not null,
    credit text not null,
    unused text not null,
    asked text not null,
    due text not null,
    rank bigint not null,
    when_active text,
    queued_behind text,
    created_at bigint not null,
    expires_at bigint not null,
    grace_until bigint not null,
    state text not null,
    flags text not null,
    seen text not null,
    confirmed text not null,
    finalized text not null,
    cancelled_at bigint,
    paid_at bigint,
    reversed_at bigint,
    closed_at bigint,
    -- The newest of its references, which no payment has used.
    reference blob not null,
    sequence bigint not null
);
create index charge_by_subject on charge (tenant, product, state);
create index charge_by_creation on charge (created_at);
create index charge_by_deadline on charge (state, expires_at);
create index charge_by_time on charge (tenant, created_at, id);
create index charge_open on charge (tenant) where state in ('open', 'confirming');

-- An amount belongs to one charge at a time, until after its grace: so the amount alone names the charge. What tells leases
-- apart comes first in the key: no plan can read all leases of a token for one.
create table amount_lease (
    chain bigint not null,
    token blob not null,
    treasury blob not null,
    due text not null,
    charge text not null,
    valid_from bigint not null,
    valid_until bigint not null,
    free_at bigint not null,
    asked text not null,
    primary key (due, chain, token, treasury)
);
create index amount_lease_by_charge on amount_lease (charge);
create index amount_lease_by_price on amount_lease (asked, chain, token, treasury);

-- What only this service knows. Made once, when it is first needed.
create table server_secret (
    name text primary key,
    value blob not null
);

-- The keys that receipts are signed by (Ed25519). One that was retired signs no more, and verifies for a while.
create table receipt_key (
    kid text primary key,
    seed blob not null,
    created_at bigint not null,
    retired_at bigint
);

-- The tokens that take authorizations (EIP-3009), by what signatures name them (EIP-712), as their contracts say.
create table token_domain (
    chain bigint not null,
    token blob not null,
    name text not null,
    version text not null,
    primary key (chain, token)
);

-- What keeps everybody from paying in a token (token_paused, treasury_blacklisted), and what no longer does, by the block
-- that says so; the newest of each counts.
create table token_notice (
    chain bigint not null,
    token blob not null,
    hindrance text not null,
    block_number bigint not null,
    holds bigint not null,
    primary key (chain, token, hindrance, block_number)
);

-- The nonces (EIP-3009) by which a payment names its charge, the n-th of each.
create table charge_reference (
    chain bigint not null,
    token blob not null,
    nonce blob not null,
    charge text not null,
    n bigint not null,
    used_at bigint,
    primary key (nonce, chain, token)
);
create index charge_reference_by_charge on charge_reference (charge);

-- What was seen, in each block where it was seen; a reorg marks, and never deletes.
create table observation (
    chain bigint not null,
    block_hash blob not null,
    log_index bigint not null,
    block_number bigint not null,
    tx_hash blob not null,
    ordinal bigint not null,
    canonical bigint not null,
    primary key (chain, block_hash, log_index)
);
create index observation_by_number on observation (chain, block_number);

create table payment (
    chain bigint not null,
    tx_hash blob not null,
    ordinal bigint not null,
    state text not null,
    token blob not null,
    payer blob not null,
    treasury blob not null,
    amount text not null,
    block_number bigint not null,
    block_hash blob not null,
    block_time bigint not null,
    log_index bigint not null,
    level text not null,
    charge text,
    rule text,
    -- What was found of whose it is, as JSON, whatever came of it; and what is remarkable, as a JSON list.
    evidence text not null default '{}',
    flags text not null default '[]',
    -- What an operator decided of a payment that no charge has: ignored or refunded.
    disposition text,
    primary key (chain, tx_hash, ordinal)
);
create index payment_by_number on payment (chain, block_number);
create index payment_by_state on payment (chain, state, block_number);
create index payment_by_charge on payment (charge);
-- For those who search, newest first.
create index payment_by_hash on payment (tx_hash);
create index payment_by_time on payment (block_time, chain, tx_hash, ordinal);
create index payment_by_chain_and_time on payment (chain, block_time);
create index payment_by_state_and_time on payment (state, block_time);
create index payment_by_payer on payment (payer, block_time);
create index payment_by_treasury on payment (treasury, block_time);
create index payment_unmatched on payment (charge, disposition, block_time, chain, tx_hash, ordinal) where charge is null;
create index payment_flagged on payment (block_time, chain, tx_hash, ordinal) where flags <> '[]';

-- The checkouts of providers that were opened for charges, and what was heard of each: amounts in base units of the charge's
-- token, times by the provider's clock.
create table hosted_payment (
    provider text not null,
    provider_ref text not null,
    charge text not null,
    url text not null,
    currency text not null,
    asked text not null,
    opened_at bigint not null,
    state text not null,
    attempt text not null,
    attempt_at bigint not null,
    pending text not null,
    received text not null,
    received_at bigint,
    -- The event of the inbox that says what was received.
    evidence text,
    refunded text not null,
    primary key (provider, provider_ref)
);
create index hosted_payment_by_charge on hosted_payment (charge);

-- A transaction that a user says is theirs. Several may claim the same one: only a proven wallet or an operator decides.
create table claim (
    tx_hash blob not null,
    tenant text not null,
    user_id text not null,
    -- Where the user named a charge, its chain; else any.
    chain bigint,
    charge text,
    claimed_at bigint not null,
    -- When a payment of it was given to a charge.
    applied_at bigint,
    primary key (tx_hash, tenant, user_id)
);
create index claim_by_tenant on claim (tenant, applied_at, claimed_at);

-- What an operator sent back, with the transaction that must prove it: pending, confirmed, failed or vanished.
create table refund (
    id text primary key,
    chain bigint not null,
    tx_hash blob not null,
    ordinal bigint not null,
    refund_tx_hash blob not null,
    amount text not null,
    state text not null,
    reason text not null,
    actor text not null,
    recorded_at bigint not null,
    look_at bigint not null,
    -- The log that proves it.
    refund_ordinal bigint,
    refund_log_index bigint,
    sent text,
    block_number bigint,
    block_hash blob,
    problem text,
    unique (chain, block_hash, refund_log_index)
);
create index refund_by_payment on refund (chain, tx_hash, ordinal);
create index refund_by_hash on refund (refund_tx_hash);
create index refund_due on refund (state, look_at);
create index refund_by_block on refund (chain, block_number);

-- The charges that a payment may have been meant for, while it is given to none.
create table payment_candidate (
    chain bigint not null,
    tx_hash blob not null,
    ordinal bigint not null,
    charge text not null,
    primary key (chain, tx_hash, ordinal, charge)
);
create index payment_candidate_by_charge on payment_candidate (charge);

create table source (
    provider text not null,
    provider_ref text not null,
    tenant text not null,
    plan text not null,
    billing_interval text,
    state text not null,
    period_start bigint,
    period_end bigint,
    scheduled_end bigint,
    next_plan text,
    next_interval text,
    access_until bigint,
    ended_at bigint,
    trial_end bigint,
    first_unpaid_at bigint,
    version bigint not null,
    attention text,
    primary key (provider, provider_ref)
);
create index source_by_tenant on source (tenant);
create index source_by_end on source (provider, state, period_end);

create table entitlement (
    tenant text primary key,
    plan text,
    access text not null,
    valid_until bigint,
    -- When its sources may be others by time alone; never after valid_until.
    refold_at bigint,
    decided_by_provider text,
    decided_by_ref text,
    sequence bigint not null
);
create index entitlement_by_refold_at on entitlement (refold_at);

-- What a tenant has paid beyond what it bought, or owes (below zero): signed, in 10^-18 of the unit. The entries are never
-- changed; the balance is their sum.
create table credit_entry (
    id integer primary key autoincrement,
    tenant text not null,
    unit text not null,
    amount text not null,
    kind text not null,
    charge text not null,
    actor text not null,
    cause text not null,
    at bigint not null
);
create index credit_entry_by_tenant on credit_entry (tenant, id);

create table credit (
    tenant text not null,
    unit text not null,
    balance text not null,
    primary key (tenant, unit)
);

-- What a tenant wants when what it has paid on-chain ends: another plan, or none.
create table plan_change (
    tenant text primary key,
    plan text,
    billing_interval text,
    at bigint not null
);

-- Which reminders of a period's end were sent: so many days before.
create table renewal_reminder (
    provider_ref text not null,
    period_end bigint not null,
    days bigint not null,
    sent_at bigint not null,
    primary key (provider_ref, period_end, days)
);

create table customer (
    provider text not null,
    customer_ref text not null,
    tenant text not null,
    primary key (provider, customer_ref)
);

-- What providers told us, stored before it is answered.
create table inbox (
    provider text not null,
    event_id text not null,
    type text not null,
    body text not null,
    received_at bigint not null,
    attempts bigint not null default 0,
    done_at bigint,
    outcome text,
    -- The checkout that it speaks of, as long as no charge of ours has it.
    awaits text,
    primary key (provider, event_id)
);
create index inbox_by_done on inbox (done_at, received_at);
create index inbox_by_checkout on inbox (provider, awaits) where awaits is not null;

-- Holdings.

-- A contract whose transfers are folded into balances. History runs from next_number to live_from - 1; from live_from on
-- the blocks bring them. scope: the sum of 1 for ERC-20, 2 for ERC-721, 4 for ERC-1155, 8 for each token by itself.
create table watch (
    chain bigint not null,
    contract blob not null,
    scope bigint not null,
    from_number bigint not null,
    next_number bigint not null,
    next_parent blob,
    live_from bigint,
    live_parent blob,
    -- The lowest blocks: in which something moved, with a log that cannot be understood, and with more tokens than are kept
    -- one by one.
    first_moved bigint,
    malformed_at bigint,
    crowded_at bigint,
    primary key (chain, contract)
);

-- Transfers of watched contracts in the blocks that a reorg may still take back, a row for each block and contract:
-- the length of its asset (1 byte), sender, recipient (20 bytes each), quantity (32 big-endian bytes) and asset, one
-- transfer after another.
create table movement (
    chain bigint not null,
    block_number bigint not null,
    contract blob not null,
    moves blob not null,
    primary key (chain, block_number, contract)
);

-- Settled balances, as 32 big-endian bytes. asset: a byte for the standard (0 ERC-20, 1 ERC-721, 2 ERC-1155), followed by the
-- token's id (32 bytes) where it is of one token.
create table balance (
    chain bigint not null,
    contract blob not null,
    holder blob not null,
    asset blob not null,
    value blob not null,
    primary key (chain, contract, holder, asset)
);

create table gate (
    id text primary key,
    tenant text not null,
    name text not null,
    description text,
    enabled bigint not null,
    action text not null,
    rule text not null,
    created_at bigint not null
);
create index gate_by_tenant on gate (tenant);

create table wallet_nonce (
    nonce text primary key,
    tenant text not null,
    user_id text not null,
    expires_at bigint not null,
    used_at bigint
);
create index wallet_nonce_by_expiry on wallet_nonce (expires_at);
create index wallet_nonce_by_user on wallet_nonce (tenant, user_id, expires_at);

create table wallet_link (
    tenant text not null,
    address blob not null,
    user_id text not null,
    linked_at bigint not null,
    primary key (tenant, address)
);
create index wallet_link_by_address on wallet_link (address);

-- Whose a wallet was that is nobody's now: it is not another user's at once.
create table wallet_release (
    tenant text not null,
    address blob not null,
    user_id text not null,
    released_at bigint not null,
    primary key (tenant, address)
);
create index wallet_release_by_time on wallet_release (released_at);

-- What is owed to the chat product, and the record of why.

create table outbox (
    id integer primary key autoincrement,
    event_id text not null unique,
    type text not null,
    resource text not null,
    sequence bigint not null,
    body text not null,
    created_at bigint not null
);
create index outbox_by_resource on outbox (resource, sequence);

create table delivery (
    endpoint text not null,
    outbox_id bigint not null,
    resource text not null,
    attempts bigint not null,
    next_at bigint not null,
    state text not null,
    last_status bigint,
    primary key (endpoint, outbox_id)
);
create index delivery_due on delivery (endpoint, state, next_at);
create index delivery_owed on delivery (endpoint, outbox_id) where state = 'pending';
create index delivery_by_resource on delivery (endpoint, resource, state, outbox_id);

create table audit (
    id integer primary key autoincrement,
    at bigint not null,
    actor text not null,
    action text not null,
    subject text not null,
    cause text not null,
    before_state text,
    after_state text
);

-- Callers.

create table api_key (
    id text primary key,
    hash blob not null unique,
    name text not null,
    scopes text not null,
    created_at bigint not null,
    revoked_at bigint
);

create table idempotency (
    scope text not null,
    key text not null,
    fingerprint blob not null,
    answer text not null,
    created_at bigint not null,
    primary key (scope, key)
);
create index idempotency_by_age on idempotency (created_at);

-- For people.

create view v_payments as
select p.chain, '0x' || lower(hex(p.tx_hash)) as tx_hash, p.ordinal, p.state, '0x' || lower(hex(p.token)) as token,
    '0x' || lower(hex(p.payer)) as payer, p.amount, p.block_number, '0x' || lower(hex(p.block_hash)) as block_hash,
    p.block_time, p.level, p.charge, p.rule, p.evidence, p.flags, p.disposition, c.tenant
from payment p left join charge c on c.id = p.charge;

create view v_charges as
select id, tenant, user_id, product, chain, '0x' || lower(hex(token)) as token, '0x' || lower(hex(treasury)) as treasury,
    price, unit, credit, unused, asked, due, when_active, state, flags, seen, confirmed, finalized, created_at, expires_at,
    grace_until, paid_at, reversed_at, closed_at
from charge;

create view v_hosted_payments as
select h.provider, h.provider_ref, h.charge, h.state, h.currency, h.asked, h.pending, h.received, h.refunded, h.opened_at,
    h.received_at, h.evidence, c.tenant
from hosted_payment h left join charge c on c.id = h.charge;

create view v_credit as
select tenant, unit, amount, kind, charge, actor, cause, at from credit_entry;

create view v_balances as
select chain, '0x' || lower(hex(contract)) as contract, '0x' || lower(hex(holder)) as holder,
    lower(hex(asset)) as asset, '0x' || lower(hex(value)) as value
from balance;
