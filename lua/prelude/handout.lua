-- handout: who holds a session, and what for.

-- handed is the reply's part about the lease: what to do, under which token; of
-- what is at the head its failures, its crashes, how often it was handed back,
-- and since when Send has put it off; the head of the inbox or the first hundred
-- of the outbox; and the hash as it stands.
local function handed(payload)
  if s.work == 'reply' then
    return {s.work, s.token, s.ofails, s.ocrashes, s.obacks, s.osince, payload, redis.call('HGETALL', session)}
  end
  return {s.work, s.token, s.fails, s.crashes, s.backs, 0, payload, redis.call('HGETALL', session)}
end

-- still tells what this call, or whoever has the token, holds of the session: for
-- one whose reply was lost, and who asks again.
local function still(token)
  if s and s.lease > now and (s.holder == op or s.token == token) then return s.work end
  return 'idle'
end

-- grant gives the lease to the caller, each time under a new token.
local function grant(work)
  s.token = new_token()
  s.lease, s.work, s.holder = now + lease, work, op
  if work == 'event' then s.way = 0 end
  list_due(s.lease)
end
