-- bells: when the replicas look at which session, and at which list of the bucket. The
-- lists due and expiry are one bot's; bells is one sorted set for all bots, so that a
-- look at it finds what there is for any of them. Its members are
--
--   d<bot>        a session of that bot's due may have to be looked at, not before the score (ms)
--   x<bot>        a session of its expiry may have expired, likewise
--   h<bot>/<id>   this session was handed out without being listed in due; the score is its lease's end
--
-- A bell may ring too early, and then look.lua corrects it. It never rings too late:
-- whoever lists a session does so by these functions.

-- check_due reads what they write of due and of the bells, so that a key of another
-- type stops a script before its first write.
local function check_due()
  redis.call('ZCARD', due)
  redis.call('ZSCORE', bells, '')
end

-- ring has a bell ring at the moment when, or before. (ZADD has LT since Redis 6.2.)
local function ring(bell, when)
  local at = redis.call('ZSCORE', bells, bell)
  if not at or tonumber(at) > when then redis.call('ZADD', bells, when, bell) end
end

-- unring says that the session is listed in due, or need not be looked at.
local function unring()
  redis.call('ZREM', bells, 'h' .. bot .. '/' .. id)
end

-- list_due has the session looked at at the moment when.
local function list_due(when)
  redis.call('ZADD', due, when, id)
  ring('d' .. bot, when)
  unring()
end

-- ensure_due does so unless it is listed already.
local function ensure_due(when)
  redis.call('ZADD', due, 'NX', when, id)
  ring('d' .. bot, when)
  unring()
end

local function unlist_due()
  redis.call('ZREM', due, id)
  unring()
end

-- put_off has a session that somebody holds looked at when the lease ends. If it has a
-- bell of its own it keeps that, and is listed nowhere: a turn's end by commit removes
-- the bell alone.
local function put_off()
  local bell = 'h' .. bot .. '/' .. id
  if redis.call('ZSCORE', bells, bell) then
    redis.call('ZADD', bells, s.lease, bell)
    redis.call('ZREM', due, id)
  else
    list_due(s.lease)
  end
end

-- list_expiry has somebody look at the moment when whether the session has expired.
local function list_expiry(when)
  redis.call('ZADD', expiry, when, id)
  ring('x' .. bot, when)
end
