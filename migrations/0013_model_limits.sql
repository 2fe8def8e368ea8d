-- Why: a provider limits all of us together, so that all processes on all machines must share what is left of its
-- limits, what it last said, and whether it answers at all. One row a model, and one function that all ask: whoever
-- has the row's lock decides. They belong to no tenant: a provider knows ours not.
-- Unlogged: nothing here outlives a crash usefully, and a call of a model must not wait for a disk.

create unlogged table model_limits (
  provider       text             not null,
  model          text             not null,

  requests_at    timestamptz      not null default '-infinity',
  tokens_at      timestamptz      not null default '-infinity',
  not_before     timestamptz      not null default '-infinity',

  rate           double precision check (rate > 0),
  calm_s         double precision not null default 0,
  grown_at       timestamptz,
  slowed_at      timestamptz,
  slowed_from    double precision,
  slowed_calls   double precision,
  slowed_s       double precision,

  window_from    timestamptz,
  window_calls   integer          not null default 0,
  before_calls   integer          not null default 0,
  before_s       double precision not null default 0,

  concurrency    double precision check (concurrency >= 1),
  eased_at       timestamptz      not null default '-infinity',

  failures       integer          not null default 0,
  times_opened   integer          not null default 0,
  open_until     timestamptz,
  probe_until    timestamptz,

  pace           double precision,
  turns          bigint           not null default 0,
  refusals       bigint           not null default 0,
  asked_at       timestamptz,

  primary key (provider, model)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
comment on table model_limits is 'What all processes share about a model of a provider: whose turn it is, and whether it answers';
comment on column model_limits.requests_at is 'When the next call may begin, by requests; tokens_at by tokens, not_before by what the provider said';
comment on column model_limits.rate is 'Calls a second, learnt from refusals; null where none was refused';
comment on column model_limits.calm_s is 'How long this rate was used up without a refusal, in seconds';
comment on column model_limits.slowed_calls is 'The calls that were let through before the last refusal, in slowed_s seconds, at slowed_from a second';
comment on column model_limits.concurrency is 'The most calls under way, learnt from overload; null where there was none';
comment on column model_limits.open_until is 'The breaker is open: until then nobody calls, then one does';
comment on column model_limits.pace is 'Calls a second as the last process that asked was let';

create unlogged table model_callers (
  provider  text        not null,
  model     text        not null,
  process   uuid        not null,
  in_flight integer     not null,
  waiting   integer     not null,
  seen_at   timestamptz not null,
  primary key (provider, model, process)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
comment on table model_callers is 'The processes that call a model, and how many calls of each are under way';

-- The calls that a process may begin within the coming `p_horizon_ms`, each at its moment: the milliseconds from now at
-- which they may, in the order of `p_wanted`, the tokens that each of the waiting calls is thought to need. It is told
-- what has become of earlier calls since the process last asked. `p_requests` and `p_tokens` are the configured pace a
-- second, or what the provider's headers tell; null where there is none.
create function take_model_turns(
  p_provider text, p_model text, p_process uuid, p_wanted integer[], p_in_flight integer,
  p_answered integer, p_failed integer, p_overloaded integer, p_tokens_more integer,
  p_requests double precision, p_tokens double precision, p_concurrency integer,
  p_horizon_ms integer, p_probe_ms integer, p_now timestamptz default null
) returns table (
  turns_ms double precision[], why text, free_in_ms double precision,
  slowed_at timestamptz, paused_ms double precision, opened boolean, pace double precision
) language plpgsql as $$
#variable_conflict use_column
declare
  l         model_limits;
  t         timestamptz;
  others    record;
  most      integer := cardinality(p_wanted);
  by_rate   timestamptz;
  by_tokens timestamptz;
  turn      timestamptz;
  seconds   double precision;
begin
  turns_ms := '{}'; why := null; free_in_ms := 0; opened := false;
  select * into l from model_limits where provider = p_provider and model = p_model for update;
  if not found then
    insert into model_limits (provider, model) values (p_provider, p_model) on conflict do nothing;
    select * into l from model_limits where provider = p_provider and model = p_model for update;
  end if;
  -- Not the transaction's: it began before the lock was had.
  t := coalesce(p_now, clock_timestamp());

  select coalesce(sum(in_flight), 0)::integer as in_flight, count(*) filter (where waiting > 0) as waiting into others
    from model_callers
    where provider = p_provider and model = p_model and process <> p_process and seen_at > t - interval '5 seconds';

  -- What became of earlier calls.
  if p_answered > 0 then
    l.failures := 0; l.times_opened := 0; l.open_until := null; l.probe_until := null;
    l.concurrency := l.concurrency + p_answered / l.concurrency;
    if l.concurrency > 4 * (others.in_flight + p_in_flight + most) + 8 then l.concurrency := null; end if;
  elsif p_failed > 0 then
    l.failures := l.failures + p_failed;
    if l.failures >= 5 and coalesce(l.open_until, '-infinity') <= t then
      l.open_until := t + make_interval(secs => least(300, 10 * 2 ^ least(l.times_opened, 6)));
      l.times_opened := l.times_opened + 1;
      l.probe_until := null;
      opened := true;
    end if;
  end if;
  if p_overloaded > 0 and l.eased_at < t - interval '1 second' then
    l.concurrency := greatest(1, (others.in_flight + p_in_flight + p_overloaded) / 2.0);
    l.eased_at := t;
  end if;
  if p_tokens > 0 then
    l.tokens_at := greatest(l.tokens_at, t - interval '1 minute') + make_interval(secs => p_tokens_more / p_tokens);
  end if;

  -- A rate that is used up without refusals grows, the faster the longer.
  if l.rate is not null then
    if l.requests_at > t - interval '100 milliseconds' then
      seconds := extract(epoch from least(t - l.grown_at, interval '2 seconds'));
      l.calm_s := l.calm_s + seconds;
      l.rate := l.rate * (1 + seconds * 0.0002 * (1 + (l.calm_s / 60) ^ 2));
    end if;
    if l.rate > coalesce(p_requests, 10000) then l.rate := null; end if;
  end if;
  l.grown_at := t;
  pace := least(p_requests, l.rate);

  -- The last minute, in two halves of half a minute or more.
  if l.window_from is null or t - l.window_from > interval '2 minutes' then
    l.window_from := t; l.window_calls := 0; l.before_calls := 0; l.before_s := 0;
  elsif t - l.window_from > interval '30 seconds' then
    l.before_s := extract(epoch from t - l.window_from); l.before_calls := l.window_calls;
    l.window_from := t; l.window_calls := 0;
  end if;

  -- How many may begin now.
  if p_concurrency is not null or l.concurrency is not null then
    most := least(most, floor(least(p_concurrency, l.concurrency))::integer - others.in_flight - p_in_flight);
    if most < cardinality(p_wanted) then why := 'concurrency'; free_in_ms := 200; end if;
  end if;
  -- A process that asks more often must not starve the others.
  if pace is not null then
    most := least(most, greatest(1, ceil(pace * p_horizon_ms / 1000 / (others.waiting + 1))::integer));
    if most < cardinality(p_wanted) and why is null then why := 'rate'; free_in_ms := p_horizon_ms / 2; end if;
  end if;
  if l.open_until > t or l.probe_until > t then
    most := 0; why := 'open'; free_in_ms := extract(epoch from greatest(l.open_until, l.probe_until) - t) * 1000;
  elsif l.open_until is not null then
    most := least(most, 1); why := 'open'; free_in_ms := p_probe_ms;
    l.probe_until := t + make_interval(secs => p_probe_ms / 1000.0) ;
    if most < 1 then l.probe_until := null; end if;
  end if;

  by_rate := greatest(t, l.not_before, l.requests_at);
  by_tokens := greatest(t, l.not_before, l.tokens_at);
  for nth in 1..most loop
    turn := greatest(by_rate, by_tokens);
    if turn > t + make_interval(secs => p_horizon_ms / 1000.0) then
      if l.not_before > t then why := 'wait'; else why := 'rate'; end if;
      free_in_ms := extract(epoch from turn - t) * 1000 - p_horizon_ms;
      exit;
    end if;
    turns_ms := turns_ms || (extract(epoch from turn - t) * 1000)::double precision;
    by_rate := turn + make_interval(secs => coalesce(1 / pace, 0));
    by_tokens := turn + make_interval(secs => coalesce(p_wanted[nth] / p_tokens, 0));
    l.requests_at := by_rate;
    l.tokens_at := by_tokens;
  end loop;

  l.window_calls := l.window_calls + cardinality(turns_ms);
  slowed_at := l.slowed_at;
  paused_ms := greatest(0, extract(epoch from case when l.not_before > t then l.not_before - t else interval '0' end) * 1000);
  update model_limits set
    requests_at = l.requests_at, tokens_at = l.tokens_at, rate = l.rate, calm_s = l.calm_s, grown_at = l.grown_at,
    window_from = l.window_from, window_calls = l.window_calls, before_calls = l.before_calls, before_s = l.before_s,
    concurrency = l.concurrency, eased_at = l.eased_at, failures = l.failures, times_opened = l.times_opened,
    open_until = l.open_until, probe_until = l.probe_until, pace = take_model_turns.pace,
    turns = turns + cardinality(turns_ms), asked_at = t
    where provider = p_provider and model = p_model;
  update model_callers set in_flight = p_in_flight + cardinality(turns_ms),
      waiting = cardinality(p_wanted) - cardinality(turns_ms), seen_at = t
    where provider = p_provider and model = p_model and process = p_process;
  if not found then
    delete from model_callers where seen_at < t - interval '1 hour';
    insert into model_callers values (p_provider, p_model, p_process, p_in_flight + cardinality(turns_ms),
      cardinality(p_wanted) - cardinality(turns_ms), t) on conflict do nothing;
  end if;
  return next;
end
$$;

-- A provider refused a call that began `p_age_ms` ago, and said to come back in `p_wait_ms`: nobody calls before. Where
-- that was no call of somebody who had not heard yet of an earlier refusal, all go on slower than before: as quickly as
-- calls were let through from when they were let through last until they shall be again, but no less than 0.4 of what it
-- was. With `p_slows` false, as for a spent quota, it says nothing about a rate.
create function note_model_refusal(
  p_provider text, p_model text, p_age_ms double precision, p_wait_ms double precision, p_slows boolean,
  p_requests double precision, p_now timestamptz default null
) returns void language plpgsql as $$
declare
  l      model_limits;
  t      timestamptz;
  until  timestamptz;
begin
  insert into model_limits (provider, model) values (p_provider, p_model) on conflict do nothing;
  select * into l from model_limits where provider = p_provider and model = p_model for update;
  t := coalesce(p_now, clock_timestamp());
  until := t + make_interval(secs => p_wait_ms / 1000);
  l.refusals := l.refusals + 1;
  if p_slows and t - make_interval(secs => p_age_ms / 1000) >= l.not_before then
    l.slowed_at := t;
    l.slowed_from := coalesce(l.rate, p_requests);
    l.slowed_calls := l.window_calls + l.before_calls;
    l.slowed_s := greatest(1, extract(epoch from until - coalesce(l.window_from, t)) + l.before_s);
    l.calm_s := 0;
    l.window_from := until; l.window_calls := 0; l.before_calls := 0; l.before_s := 0;
  end if;
  if p_slows and l.slowed_calls is not null then
    -- Each of the refused was counted as let through.
    l.slowed_calls := l.slowed_calls - 1;
    if l.slowed_calls >= 3 then
      l.rate := least(greatest(0.99 * l.slowed_calls / l.slowed_s, 0.4 * l.slowed_from), 0.98 * l.slowed_from);
    else
      -- So few calls tell only that somebody else uses this provider, too.
      l.rate := 0.7 * l.slowed_from;
    end if;
  end if;
  update model_limits set
    refusals = l.refusals, slowed_at = l.slowed_at, slowed_from = l.slowed_from, slowed_calls = l.slowed_calls,
    slowed_s = l.slowed_s, calm_s = l.calm_s, window_from = l.window_from, window_calls = l.window_calls,
    before_calls = l.before_calls, before_s = l.before_s, rate = l.rate, not_before = greatest(l.not_before, until),
    -- A call was answered, if only so: the breaker is none of its business.
    failures = 0, open_until = null, probe_until = null, times_opened = 0
    where provider = p_provider and model = p_model;
end
$$;
