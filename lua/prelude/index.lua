-- index: the bucket's lists of a bot's sessions, true after every script because
-- they share the session's slot.
--
-- In the list index a session stands by its state and by the minute in which it was
-- last active, both in one number, its place: 28 bits of the SHA-1 of the state's
-- name, then 25 bits of the minute, counted from 2020 on. That makes 53 bits, which a
-- score holds exactly. So the sessions of a state are a range of places, in the order
-- of their last activity, and one ZADD writes the state, the minute, or both. Two
-- names may have the same 28 bits: who looks for a state compares the one in the hash.
--
-- place.go of package stored makes the same numbers; the two mirror each other.

local MINUTES = 33554432 -- so many places has a state
local LAST = 9007199254740991 -- the last place of all

local function place(state, ms)
  local minute = math.floor(ms / 60000) - 26297280
  return tonumber(string.sub(redis.sha1hex(state), 1, 7), 16) * MINUTES + math.max(0, math.min(minute, MINUTES - 1))
end

-- each_state calls see for each state between two places that has a session: with the
-- first place that a session of it may have, the least that one has, and that one's id.
local function each_state(from, to, see)
  while true do
    local first = redis.call('ZRANGEBYSCORE', index, int(from), int(to), 'WITHSCORES', 'LIMIT', 0, 1)
    if not first[1] then return end
    local least = tonumber(first[2])
    local base = least - least % MINUTES
    see(base, least, first[1])
    from = base + MINUTES
  end
end

-- In the list users stands, for each session with a user, the user's name, NUL and the
-- session's id, all with the score 0.

-- check_index reads each key of the index, so that one of another type stops the
-- script before its first write.
local function check_index()
  redis.call('ZCARD', index)
  redis.call('ZCARD', users)
  redis.call('ZCARD', expiry)
  redis.call('ZSCORE', bells, '')
  redis.call('HLEN', bots)
end
